"""Dataset folders as a model of one feature sees them."""

from pathlib import Path

from components.binding.datasets import ModelDataset, open_for
from elboflow.vae.data import Examples
from elboflow.vae.families.flat import Flat


def opened(dataset: Path | str, input: str = "image") -> ModelDataset:
    """Opens a dataset folder for a model with the usual settings."""
    return open_for(Flat(input=input), dataset)


def examples(dataset: Path | str, split: str, input: str = "image") -> Examples:
    """Returns a whole split."""
    return opened(dataset, input).head(split, 2**62)
