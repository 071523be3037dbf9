"""Small raw data in every format, made for a test."""

import gzip
import struct
from pathlib import Path

import numpy as np

from preprocessing.config import DataConfig


def examples(count: int, seed: int = 0, side: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Returns random images, uint8 [count, side, side], and labels, uint8 [count], sorted by label."""
    random = np.random.default_rng(seed)
    return random.integers(0, 256, (count, side, side), np.uint8), np.sort(random.integers(0, 10, count, np.uint8))


def idx(array: np.ndarray) -> bytes:
    """Returns an array of bytes in the idx format."""
    return struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def mnist_folder(
    folder: Path, images: np.ndarray, labels: np.ndarray, part: str = "train", packed: bool = False
) -> Path:
    """Writes a part of a folder in MNIST's layout."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in (("images-idx3-ubyte", images), ("labels-idx1-ubyte", labels)):
        content = idx(array)
        path = folder / f"{part}-{name}{'.gz' if packed else ''}"
        path.write_bytes(gzip.compress(content, mtime=0) if packed else content)
    return folder


def weighted(path: Path, weights: np.ndarray) -> DataConfig:
    """Writes an npz of random images, labels sorted from 0 to 9, and a number for each; returns the config of it."""
    images, labels = examples(len(weights))
    np.savez(path, image=images, label=labels, weight=weights)
    features = {**config("sklearn").model_dump()["features"], "weight": "number"}
    return DataConfig.model_validate(
        {"source": {"kind": "npz", "path": str(path)}, "features": features, "shards": {"megabytes": 0.02}}
    )


def config(source: object, side: int = 6, **settings: object) -> DataConfig:
    """Returns the config of a dataset of such images."""
    features = {"image": {"kind": "image", "shape": [side, side, 1], "range": [0, 255]}, "label": "category"}
    return DataConfig.model_validate({"source": source, "features": features, **settings})
