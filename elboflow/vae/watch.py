"""Callbacks of a training: observers get its measurements, and a watch can stop it after any epoch."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol

Group = Literal["train", "validation", "machine"]
"""The groups of curves: measurements of training steps, of validation, and of the machine."""

Observer = Callable[[Group, int, int, Mapping[str, float]], None]
"""Called after each epoch with the group of curves, the epoch, the step and the values by name. It must not block.

A training that resumes from a checkpoint does not repeat the epochs before the checkpoint, but repeats later ones.
"""


class Watch(Protocol):
    """Called after every epoch, in order. A resumed training calls it for the epochs before the checkpoint first."""

    def __call__(self, epoch: int, elbo: float) -> bool:
        """Returns whether the training should continue, given the validation ELBO of an epoch in nats per example."""


class WatchStoppedError(Exception):
    """The watch stopped the training. The checkpoint contains the state at the end of the last epoch.

    Attributes:
        epoch: The last completed epoch.
        curves: The curves (`elboflow.vae.curves.Curves`), as JSON values.
    """

    def __init__(self, epoch: int, curves: dict[str, Any]) -> None:
        super().__init__(f"training was stopped after epoch {epoch}")
        self.epoch, self.curves = epoch, curves
