"""Where raw values lie, and what to write where the range of an image feature does not fit them."""

import math
from typing import Any

from elboflow.settings import Settings
from preprocessing.config import LARGEST, ImageFeature

LEAST_USE = 0.1  # of a range: a split that uses less of it is taken for almost one colour

# The ranges that images usually have; a range must be used by half before it is advised.
_USUAL = ((0, 1), (-1, 1), (0, 255), (0, 65535))
_DIGITS = 3


class Extent(Settings):
    """The smallest and the largest of some finite raw values, and whether all of them are whole numbers."""

    low: float
    high: float
    whole: bool

    def __add__(self, other: "Extent") -> "Extent":
        return Extent(low=min(self.low, other.low), high=max(self.high, other.high), whole=self.whole and other.whole)

    def __str__(self) -> str:
        if self.low == self.high:
            return f"all values are {number(self.low)}"
        return f"the values lie between {number(self.low)} and {number(self.high)}" + (
            "" if self.whole else ", not all of them whole"
        )

    def use_of(self, feature: ImageFeature) -> float:
        """Returns which part of a feature's range these values use, from 0 to 1."""
        low, high = feature.range
        return (self.high - self.low) / (high - low)


def advice(name: str, feature: ImageFeature, found: Extent) -> str:
    """Returns what to write at an image feature of this name, so that it takes these values, or uses its range."""
    low, high = feature.range
    if found.low == found.high:
        return "images of one value leave nothing to learn"
    if max(abs(found.low), abs(found.high)) > LARGEST / 2:  # half, because an advised range is rounded outwards
        return "such numbers are too large for a range; scale them first"
    wanted: dict[str, Any] = {}
    if found.low < low or found.high > high or found.use_of(feature) < LEAST_USE:
        wanted["range"] = _range(found)
    fitted = ImageFeature(shape=feature.shape, **wanted) if wanted else feature
    if fitted.is_exact and not found.whole:
        wanted["quantise"] = True
    return f"write {', '.join(_yaml(key, value) for key, value in wanted.items())} at data.features.{name}"


def number(value: float) -> str:
    """Returns a raw value as a person would write it, shortened: 255, not 255.0."""
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else f"{value:.4g}"


def _range(found: Extent) -> tuple[int | float, int | float]:
    """Returns a range that holds these values: a usual one, or one of round numbers close around them."""
    for low, high in _USUAL:
        if low <= found.low and found.high <= high and found.high - found.low > (high - low) / 2:
            return low, high
    ends = found.low, found.high
    step = 10.0 ** (math.floor(math.log10(found.high - found.low)) + 1 - _DIGITS)
    if step > 0 and not (found.low.is_integer() and found.high.is_integer()):
        rounded = math.floor(found.low / step) * step, math.ceil(found.high / step) * step
        short = float(f"{rounded[0]:.12g}"), float(f"{rounded[1]:.12g}")
        if short[0] <= found.low and found.high <= short[1]:
            ends = short
    return _short(ends[0]), _short(ends[1])


def _short(value: float) -> int | float:
    return int(value) if value.is_integer() and abs(value) < 1e15 else value


def _yaml(key: str, value: Any) -> str:
    return f"{key}: [{value[0]!r}, {value[1]!r}]" if key == "range" else f"{key}: true"
