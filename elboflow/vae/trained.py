"""What a training ends with."""

from dataclasses import dataclass

from elboflow.vae.curves import Curves
from elboflow.vae.model import Model


@dataclass(frozen=True)
class Trained:
    """A finished training.

    Attributes:
        model: The model; with early stopping it has the weights of the best epoch by validation ELBO, else the last.
        curves: What was measured.
        best_epoch: The epoch of the best validation ELBO, from 1.
        epochs: Epochs done.
        out_of_time: Whether `max_minutes` ended it: given more, it goes on from its last checkpoint.
    """

    model: Model
    curves: Curves
    best_epoch: int
    epochs: int
    out_of_time: bool = False
