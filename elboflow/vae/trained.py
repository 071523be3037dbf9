"""The result of a training."""

from dataclasses import dataclass

from elboflow.vae.curves import Curves
from elboflow.vae.model import Model


@dataclass(frozen=True)
class Trained:
    """A finished training.

    Attributes:
        model: The model, with the weights of the last epoch, or with early stopping of the best epoch.
        curves: The curves of the training.
        best_epoch: The epoch of the best validation ELBO, from 1.
        epochs: The number of completed epochs.
        out_of_time: Whether `max_minutes` ended the training. With a larger limit, a new call resumes the training.
    """

    model: Model
    curves: Curves
    best_epoch: int
    epochs: int
    out_of_time: bool = False
