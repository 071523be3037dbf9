"""The measurements of a training by epoch, as columns of numbers."""

from dataclasses import dataclass, field, fields
from typing import Any

from elboflow.vae.watch import Group

Columns = dict[str, list[float]]

NO_MEASURES = frozenset({"epoch", "step", "learning_rate", "skipped_steps"})
"""Columns of `train` and `validation` that are no measures."""


@dataclass
class Curves:
    """The curves of one training.

    `train` and `validation` are a function of the settings, also after interruptions. `machine` depends on the machine.

    Attributes:
        train: Columns `epoch`, `step`, the means over the epoch of `loss`, `elbo`, `reconstruction`, `kl` (nats per
            example) and `gradient_norm`, then `learning_rate` at the end of the epoch and `skipped_steps`.
        validation: Columns `epoch`, `step`, `elbo`, `reconstruction`, `kl` (nats per example).
        machine: Columns `epoch`, `step`, `examples_per_second`, `step_milliseconds` and, if the device reports it,
            `device_memory_megabytes`. A value is None in epochs on a device that does not report it, because a resumed
            training can run on another device.
    """

    train: Columns = field(default_factory=dict)
    validation: Columns = field(default_factory=dict)
    machine: dict[str, list[float | None]] = field(default_factory=dict)

    def add(self, group: Group, /, **values: float) -> None:
        """Appends an epoch to the columns of a group. Values that were not measured are None."""
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
