"""Raw values → what records hold, and what makes raw values unfit to be examples."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from elboflow.settings import WorkError
from preprocessing import vocabulary
from preprocessing.config import CategoryFeature, DataConfig, ImageFeature
from preprocessing.extent import Extent
from preprocessing.sources import Batch
from preprocessing.vocabulary import Names

_NUMBERS = "uif"  # NumPy's kinds: unsigned and signed integers, floats
_KINDS = {
    "U": "text",
    "S": "bytes",
    "O": "Python objects",
    "c": "complex numbers",
    "M": "dates",
    "m": "spans of time",
    "V": "records",
}


class UnfitError(WorkError):
    """Values do not fit the range or the levels of an image feature; `feature` is its name."""

    def __init__(self, feature: str, sentence: str):
        super().__init__(sentence)
        self.feature = feature


@dataclass(frozen=True)
class RawImages:
    """The values of an image feature.

    Attributes:
        values: Numbers, [examples, height · width · channels].
        low: The smallest value of each example, [examples]; NaN where one of its values is NaN.
        high: The largest.
        whole: Whether all are whole numbers.
    """

    values: np.ndarray
    low: np.ndarray
    high: np.ndarray
    whole: bool

    @property
    def finite(self) -> np.ndarray:
        """Whether all values of an example are finite, [examples]."""
        return np.isfinite(self.low) & np.isfinite(self.high)

    def extent(self, chosen: np.ndarray | slice = slice(None)) -> Extent | None:
        """Returns where the values of the chosen examples lie; None where there are none that are finite."""
        finite = self.finite[chosen]
        low, high = self.low[chosen][finite], self.high[chosen][finite]
        return Extent(low=float(low.min()), high=float(high.max()), whole=self.whole) if len(low) else None


def raw_images(batch: Batch, config: DataConfig) -> dict[str, RawImages]:
    """Returns the values of each image feature.

    Raises:
        WorkError: They have another shape than the config says, or are no numbers.
    """
    return {name: _raw(batch, name, image) for name, image in config.images.items()}


def quantise(batch: Batch, images: Mapping[str, RawImages], config: DataConfig, names: Names) -> dict[str, np.ndarray]:
    """Checks a batch of raw examples and turns it into what records hold.

    Args:
        batch: The examples.
        images: What `raw_images` made of them.
        config: What the dataset is made from.
        names: The classes' names of each category that is text.

    Returns:
        uint8 [examples, height · width · channels] for each image feature; int64 [examples] for each category; float32
        [examples] for each number.

    Raises:
        UnfitError: An image has a value outside its range, or between two levels.
        WorkError: Another value is unfit. Either names the array, the example, the value and what is allowed.
    """
    columns = {}
    for name, image in config.images.items():
        columns[name] = _codes(batch, name, image, images[name])
    for name, category in config.categories.items():
        columns[name] = _categories(batch, name, category, names.get(name))
    for name in config.numbers:
        columns[name] = _numbers(batch, name)
    return columns


def _raw(batch: Batch, name: str, feature: ImageFeature) -> RawImages:
    raw = _comparable(batch.arrays[name])
    if raw.dtype.kind not in _NUMBERS:
        raise WorkError(f"{batch.places[name]}: the feature {name!r} is {_type(raw)}; an image consists of numbers")
    shapes = [feature.shape, feature.shape[:2]] if feature.shape[2] == 1 else [feature.shape]
    if raw.shape[1:] not in shapes:
        raise WorkError(
            f"{batch.places[name]}: the feature {name!r} has the shape {list(raw.shape[1:])}; "
            f"data.features.{name}.shape says {list(feature.shape)}"
        )
    raw = raw.reshape(len(raw), feature.size)
    if raw.dtype.kind != "f":
        return RawImages(raw, raw.min(axis=1), raw.max(axis=1), whole=True)
    if raw.dtype.itemsize > 8:
        with np.errstate(over="ignore"):
            raw = raw.astype(np.float64)  # what is beyond it becomes infinite, and is refused
    return RawImages(raw, raw.min(axis=1), raw.max(axis=1), whole=bool((raw == np.rint(raw)).all()))


def _codes(batch: Batch, name: str, feature: ImageFeature, raw: RawImages) -> np.ndarray:
    low, high = feature.range
    values = raw.values
    if values.dtype == np.uint8 and (low, high, feature.levels) == (0, 255, 256):
        return values
    if not raw.finite.all():
        raise WorkError(_unfit(batch, name, values, ~np.isfinite(values), "a finite number is expected"))
    if raw.low.min() < low or raw.high.max() > high:
        allowed = f"data.features.{name}.range allows {low} to {high}"
        raise UnfitError(name, _unfit(batch, name, values, (values < low) | (values > high), allowed))
    if feature.is_exact:
        if not raw.whole:
            allowed = f"with range [{low}, {high}] and {feature.levels} levels whole numbers are expected"
            raise UnfitError(name, _unfit(batch, name, values, values != np.rint(values), allowed))
        if values.dtype == np.uint64:  # has no type for differences but its own
            values = values - np.uint64(low) if low >= 0 else values.astype(np.int64) - int(low)
            return values.astype(np.uint8)
        return (values - np.asarray(low, np.result_type(values.dtype, np.int16))).astype(np.uint8)
    return np.rint((values.astype(np.float64) - low) / (high - low) * (feature.levels - 1)).astype(np.uint8)


def _categories(batch: Batch, name: str, feature: CategoryFeature, names: tuple[str, ...] | None) -> np.ndarray:
    raw = _one_each(batch, name, "a category is one whole number, or one name, per example", text=True)
    if names is not None:
        if not vocabulary.is_text(raw):
            raise WorkError(f"{batch.places[name]}: the feature {name!r} is {_type(raw)}, and text elsewhere")
        found = vocabulary.numbers(names, vocabulary.texts(batch, name, raw))
        _refuse(batch, name, raw, found < 0, "this class was not there when the names were read")
        return found
    allowed = f"0 to {feature.classes - 1}" if feature.classes else "0 or more"
    with np.errstate(invalid="ignore"):
        unfit = (raw != np.rint(raw)) | ~np.isfinite(raw) if raw.dtype.kind == "f" else np.zeros(len(raw), bool)
        unfit |= (raw < 0) | (raw >= (feature.classes or 2**63))
    _refuse(batch, name, raw, unfit, f"a category is a whole number, {allowed}")
    return raw.astype(np.int64)


def _numbers(batch: Batch, name: str) -> np.ndarray:
    raw = _one_each(batch, name, "a number is one per example", text=False)
    with np.errstate(over="ignore"):
        numbers = raw.astype(np.float32)
    _refuse(batch, name, raw, ~np.isfinite(numbers), "a number must be finite, in float32, too")
    return numbers


def _one_each(batch: Batch, name: str, expected: str, text: bool) -> np.ndarray:
    raw = _comparable(batch.arrays[name])
    if raw.ndim == 2 and raw.shape[1] == 1:
        raw = raw[:, 0]
    if raw.ndim != 1 or not (raw.dtype.kind in _NUMBERS or (text and vocabulary.is_text(raw))):
        each = f" of shape {list(raw.shape[1:])}" if raw.ndim != 1 else ""
        raise WorkError(f"{batch.places[name]}: the feature {name!r} is {_type(raw)}{each}; {expected}")
    return raw


def _comparable(array: np.ndarray) -> np.ndarray:
    """Returns bools as 0 and 1, and float16 as float32: NumPy cannot compare either with large numbers."""
    if array.dtype.kind == "b":
        return array.astype(np.uint8)
    return array.astype(np.float32) if array.dtype.kind == "f" and array.dtype.itemsize < 4 else array


def _type(array: np.ndarray) -> str:
    kind = _KINDS.get(array.dtype.kind)
    return f"{kind} ({array.dtype})" if kind else str(array.dtype)


def _refuse(batch: Batch, name: str, raw: np.ndarray, unfit: np.ndarray, allowed: str) -> None:
    if unfit.any():
        raise WorkError(_unfit(batch, name, raw, unfit, allowed))


def _unfit(batch: Batch, name: str, raw: np.ndarray, unfit: np.ndarray, allowed: str) -> str:
    at = np.argwhere(unfit)[0]
    return (
        f"{batch.places[name]}: example {batch.first + at[0]:,} has the value {raw[tuple(at)]} in its feature "
        f"{name!r}; {allowed}"
    )
