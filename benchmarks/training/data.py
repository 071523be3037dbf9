"""The data of the benchmark: MNIST or noise, through preprocessing, as a dataset folder and as one array."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.training.setting import COLOUR_IMAGE, IMAGE
from preprocessing.config import DataConfig
from preprocessing.pipeline import preprocess
from preprocessing.reader import open_dataset

WHOLE = {"train": 0.9, "validation": 0.1, "test": "source"}
# Splits go by an example's hash: nine tenths of the hashes are in the train split above, of which a part is split anew.
SPLITS = {"train": 0.8, "validation": 0.2}


@dataclass(frozen=True)
class Data:
    """One dataset in the forms that sides take.

    Attributes:
        dataset: The dataset folder, TFRecords.
        images: A .npy file of the same train split, uint8 `[examples, height, width, channels]`.
        examples: Their number.
        bytes: What they take.
    """

    dataset: Path
    images: Path
    examples: int
    bytes: int


def digits(mnist: Path | None, folder: Path, examples: int | None) -> Data:
    """Makes the dataset of digits.

    Args:
        mnist: A folder in MNIST's layout; None for noise of the same shape.
        folder: Where to write.
        examples: About as many are used for training; None for all.
    """
    if mnist is None:
        rng = np.random.default_rng(0)
        images = rng.integers(0, 256, (60_000, *IMAGE), dtype=np.uint8)
        images *= rng.random(images.shape) < 0.2  # a digit covers about a fifth of its image
    else:
        data = _made({"kind": "idx", "path": str(mnist)}, IMAGE, WHOLE, folder / "whole")
        if examples is None:
            return data
        images = np.load(data.images)
    return _of(images if examples is None else images[: round(examples / SPLITS["train"])], folder)


def pictures(folder: Path, examples: int) -> Data:
    """Makes noise of the shape of small colour pictures; a network's speed does not depend on what they show."""
    images = np.random.default_rng(0).integers(0, 256, (examples, *COLOUR_IMAGE), dtype=np.uint8)
    return _of(images, folder)


def _of(images: np.ndarray, folder: Path) -> Data:
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "source.npz", image=images)
    return _made({"kind": "npz", "path": str(folder / "source.npz")}, images.shape[1:], SPLITS, folder / "made")


def _made(source: dict[str, str], shape: tuple[int, ...], splits: dict[str, Any], folder: Path) -> Data:
    image = {"kind": "image", "shape": list(shape), "range": [0, 255]}
    config = DataConfig.model_validate({"source": source, "features": {"image": image}, "splits": splits})
    preprocess(config, folder / "dataset")
    images = open_dataset(folder / "dataset").read("train")["image"]
    np.save(folder / "images.npy", images)
    return Data(folder / "dataset", folder / "images.npy", len(images), images.nbytes)
