"""Raw values → what records hold, and what makes raw values unfit to be examples."""

import numpy as np

from preprocessing.config import CategoryFeature, DataConfig, ImageFeature
from preprocessing.sources import Batch
from settings import WorkError


def quantise(batch: Batch, config: DataConfig) -> dict[str, np.ndarray]:
    """Checks a batch of raw examples and turns it into what records hold.

    Returns:
        uint8 [examples, height · width · channels] for each image feature; int64 [examples] for each category; float32
        [examples] for each number.

    Raises:
        WorkError: A value is unfit; it names the place, the example, the value and what is allowed.
    """
    columns = {}
    for name, image in config.images.items():
        columns[name] = _codes(batch, name, image)
    for name, category in config.categories.items():
        columns[name] = _categories(batch, name, category)
    for name in config.numbers:
        columns[name] = _numbers(batch, name)
    return columns


def _codes(batch: Batch, name: str, feature: ImageFeature) -> np.ndarray:
    raw = batch.arrays[name]
    shapes = [feature.shape, feature.shape[:2]] if feature.shape[2] == 1 else [feature.shape]
    if raw.shape[1:] not in shapes:
        raise WorkError(
            f"{batch.place}: the feature {name!r} has the shape {list(raw.shape[1:])}; "
            f"data.features.{name}.shape says {list(feature.shape)}"
        )
    if raw.dtype.kind not in "uifb":
        raise WorkError(f"{batch.place}: the feature {name!r} is of type {raw.dtype}; numbers are expected")
    raw = raw.reshape(len(raw), feature.size)
    low, high = feature.range
    if raw.dtype == np.uint8 and (low, high, feature.levels) == (0, 255, 256):
        return raw
    if raw.dtype.kind == "f":
        _refuse(batch, name, raw, ~np.isfinite(raw), "a finite number is expected")
    _refuse(batch, name, raw, (raw < low) | (raw > high), f"data.features.{name}.range allows {low} to {high}")
    if feature.is_exact:
        if raw.dtype.kind == "f":
            wanted = f"with range [{low}, {high}] and {feature.levels} levels whole numbers are expected"
            _refuse(batch, name, raw, raw != np.rint(raw), f"{wanted}; set levels: 256 to quantise")
        return (raw - np.asarray(low, np.result_type(raw.dtype, np.int16))).astype(np.uint8)
    return np.rint((raw.astype(np.float64) - low) / (high - low) * (feature.levels - 1)).astype(np.uint8)


def _categories(batch: Batch, name: str, feature: CategoryFeature) -> np.ndarray:
    raw = _one_each(batch, name, "a category is one whole number per example")
    allowed = f"0 to {feature.classes - 1}" if feature.classes else "0 or more"
    with np.errstate(invalid="ignore"):
        unfit = (raw != np.rint(raw)) | ~np.isfinite(raw) if raw.dtype.kind == "f" else np.zeros(len(raw), bool)
        unfit |= (raw < 0) | (raw >= (feature.classes or 2**63))
    _refuse(batch, name, raw, unfit, f"a category is a whole number, {allowed}")
    return raw.astype(np.int64)


def _numbers(batch: Batch, name: str) -> np.ndarray:
    raw = _one_each(batch, name, "a number is one per example")
    with np.errstate(over="ignore"):
        numbers = raw.astype(np.float32)
    _refuse(batch, name, raw, ~np.isfinite(numbers), "a number must be finite, in float32, too")
    return numbers


def _one_each(batch: Batch, name: str, expected: str) -> np.ndarray:
    raw = batch.arrays[name]
    if raw.ndim == 2 and raw.shape[1] == 1:
        raw = raw[:, 0]
    if raw.ndim != 1 or raw.dtype.kind not in "uifb":
        raise WorkError(
            f"{batch.place}: the feature {name!r} is {raw.dtype} of shape {list(raw.shape[1:])}; {expected}"
        )
    return raw


def _refuse(batch: Batch, name: str, raw: np.ndarray, unfit: np.ndarray, allowed: str) -> None:
    if unfit.any():
        at = np.argwhere(unfit)[0]
        raise WorkError(
            f"{batch.place}: example {batch.first + at[0]:,} has the value {raw[tuple(at)]} in its feature {name!r}; "
            f"{allowed}"
        )
