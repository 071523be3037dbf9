"""What training measured, epoch by epoch, as columns of numbers."""

from dataclasses import dataclass, field, fields
from typing import Any, Literal

Columns = dict[str, list[float]]
Group = Literal["train", "validation", "machine"]


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
            `device_memory_megabytes`.
    """

    train: Columns = field(default_factory=dict)
    validation: Columns = field(default_factory=dict)
    machine: Columns = field(default_factory=dict)

    def add(self, group: Group, **values: float) -> None:
        """Appends one epoch to the columns of a group."""
        columns: Columns = getattr(self, group)
        for name, value in values.items():
            columns.setdefault(name, []).append(value)

    def as_json(self) -> dict[str, Any]:
        """Returns a copy of the columns of all groups."""
        return {
            group.name: {name: list(column) for name, column in getattr(self, group.name).items()}
            for group in fields(self)
        }
