"""The training loop: compiled steps, early stopping on the validation ELBO, checkpoints and curves."""

from elboflow.vae.trained import Trained
from elboflow.vae.training.loop import train

__all__ = ["Trained", "train"]
