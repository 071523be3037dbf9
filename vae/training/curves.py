"""What training measured, epoch by epoch, as columns of numbers."""

from dataclasses import asdict, dataclass, field
from typing import Any

Columns = dict[str, list[float]]


@dataclass
class Curves:
    """The curves of one training.

    Attributes:
        train: Columns `epoch`, `step`, the means over the epoch of `loss`, `elbo`, `reconstruction`, `kl` (nats per
            example) and `gradient_norm`, then `learning_rate` at its end and `examples_per_second`.
        validation: Columns `epoch`, `step`, `elbo`, `reconstruction`, `kl` (nats per example).
    """

    train: Columns = field(default_factory=dict)
    validation: Columns = field(default_factory=dict)

    def add(self, split: str, **values: float) -> None:
        """Appends one epoch to the columns of a split."""
        columns: Columns = getattr(self, split)
        for name, value in values.items():
            columns.setdefault(name, []).append(value)

    def as_json(self) -> dict[str, Any]:
        """Returns the columns of both splits."""
        return asdict(self)
