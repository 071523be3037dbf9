"""Who watches a training from outside: told what it measures, and free to stop it after any epoch."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol

Group = Literal["train", "validation", "machine"]
"""Of curves: what the steps measured, what the validation did, and what the machine was like."""

Observer = Callable[[Group, int, int, Mapping[str, float]], None]
"""Is told a group of curves, the epoch, the steps done and the values of each epoch, and returns at once.

A training that goes on from a checkpoint does not tell the epochs before it again, but does tell those since.
"""


class Watch(Protocol):
    """Is told of every epoch, in order. A training that goes on from a checkpoint tells the epochs before it first."""

    def __call__(self, epoch: int, elbo: float) -> bool:
        """Takes the validation ELBO of an epoch, in nats per example, and returns whether training is to go on."""


class WatchStoppedError(Exception):
    """Its watch stopped a training. The checkpoint holds the end of the last epoch.

    Attributes:
        epoch: The last epoch done.
        curves: What was measured (`elboflow.vae.curves.Curves`), as JSON values.
    """

    def __init__(self, epoch: int, curves: dict[str, Any]) -> None:
        super().__init__(f"training was stopped after epoch {epoch}")
        self.epoch, self.curves = epoch, curves
