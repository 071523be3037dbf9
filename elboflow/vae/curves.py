"""What training measured, epoch by epoch, as columns of numbers."""

from dataclasses import dataclass, field, fields
from typing import Any

from elboflow.vae.watch import Group

Columns = dict[str, list[float]]

NO_MEASURES = frozenset({"epoch", "step", "learning_rate", "skipped_steps"})
"""Columns of `train` and `validation` that are no measures."""


@dataclass
class Curves:
    """The curves of one training.

    `train` and `validation` are a function of the settings, however often the training was interrupted; `machine` is
    not.

    Attributes:
        train: Columns `epoch`, `step`, the means over the epoch of `loss`, `elbo`, `reconstruction`, `kl` (nats per
            example) and `gradient_norm`, then `learning_rate` at its end and `skipped_steps`.
        validation: Columns `epoch`, `step`, `elbo`, `reconstruction`, `kl` (nats per example).
        machine: Columns `epoch`, `step`, `examples_per_second`, `step_milliseconds` and, where the device tells,
            `device_memory_megabytes`. None is what a device did not tell of an epoch: a training may go on on another.
    """

    train: Columns = field(default_factory=dict)
    validation: Columns = field(default_factory=dict)
    machine: dict[str, list[float | None]] = field(default_factory=dict)

    def add(self, group: Group, /, **values: float) -> None:
        """Appends one epoch to the columns of a group; what was not measured in an epoch is None."""
        columns: dict[str, list[float | None]] = getattr(self, group)
        before = len(columns.get("epoch", ()))
        for name in {**columns, **values}:
            columns.setdefault(name, [None] * before).append(values.get(name))

    def as_json(self) -> dict[str, Any]:
        """Returns a copy of the columns of all groups."""
        return {
            group.name: {name: list(column) for name, column in getattr(self, group.name).items()}
            for group in fields(self)
        }
