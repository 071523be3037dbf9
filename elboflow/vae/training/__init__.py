"""The training loop: compiled steps, early stopping on the validation ELBO, checkpoints and curves."""

from elboflow.vae.training.loop import Trained, train

__all__ = ["Trained", "train"]
