"""The training loop: compiled steps, early stopping on the validation ELBO, checkpoints and curves."""

from vae.training.loop import Trained, train

__all__ = ["Trained", "train"]
