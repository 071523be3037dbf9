"""The advised `range` of an image feature for raw values with a known minimum and maximum."""

import math
from typing import Any

from preprocessing.extent import Extent

LARGEST = 1e300
"""The largest absolute value in a range: the difference of larger values could overflow float64."""

# Common ranges of images. A range is advised only if the values use more than half of it.
_COMMON = ((0, 1), (-1, 1), (0, 255), (0, 65535))
_DIGITS = 3


def around(found: Extent) -> tuple[int | float, int | float]:
    """Returns a range that contains these values: a common range, or a close one with rounded ends."""
    for low, high in _COMMON:
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


def yaml_of(key: str, value: Any) -> str:
    """Returns a setting of an image feature as YAML."""
    return f"{key}: [{value[0]!r}, {value[1]!r}]" if key == "range" else f"{key}: true"


def _short(value: float) -> int | float:
    return int(value) if value.is_integer() and abs(value) < 1e15 else value
