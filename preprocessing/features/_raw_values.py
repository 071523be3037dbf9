"""Raw values as clients send them: one for each example, of the types that JSON, NumPy, pandas and a command line have.

What is no value of a feature is refused with a sentence that never holds more than one value.
"""

import math
import re
from collections.abc import Mapping, Sequence, Set
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np

from elboflow.artifacts.spec import FeatureSpec
from elboflow.settings import RequestError
from elboflow.settings.text import shown
from preprocessing.raw.cells import INTEGER, NUMBER


def each(name: str, raw: Any, takes: str) -> list[Any]:
    """Returns the value of each example, NumPy's numbers as Python's.

    Args:
        name: The feature's name.
        raw: The values.
        takes: What the feature takes, for the error: `one text`.

    Raises:
        RequestError: It is no sequence, or an empty one.
    """
    single = isinstance(raw, str | bytes | Mapping | Set) or getattr(raw, "ndim", 1) == 0
    if single or not hasattr(raw, "__len__") or not hasattr(raw, "__iter__"):
        raise RequestError(f"{name!r} takes {takes} per example, in a list of examples")
    if not len(raw):
        raise RequestError(f"there are no examples of {name!r}; the model takes at least 1")
    return [value.item() if isinstance(value, np.generic) else value for value in raw]


def told(value: Any) -> str:
    """Returns one value as words for an error, shortened."""
    return shown(value) if value is None or isinstance(value, str | int | float) else f"of type {type(value).__name__}"


def text(value: Any) -> str | None:
    """Returns a value as text; None if it is none, empty, or nothing that UTF-8 can hold."""
    try:
        decoded = value.decode() if isinstance(value, bytes) else value
        return decoded if isinstance(decoded, str) and decoded.encode() else None
    except UnicodeError:
        return None


def whole(value: Any) -> int | None:
    """Returns a value as a whole number; None if it is none. Text is one where it is written as one."""
    if isinstance(value, str):
        return int(value) if re.match(INTEGER, value.strip(), re.ASCII) else None
    if not isinstance(value, int | float | Decimal):
        return None
    try:
        found = math.trunc(value)
    except (ValueError, OverflowError):  # NaN and infinities
        return None
    return found if found == value else None


def numbers(name: str, spec: FeatureSpec, raw: Any) -> np.ndarray:
    """Returns numbers of the type and shape of a spec, `[examples, …]`.

    Raises:
        RequestError: They are no finite numbers, of another shape, or cannot be of this type.
    """
    kind = "finite numbers" if spec.dtype == "float32" else "whole numbers"
    takes = f"{kind} of shape {list(spec.shape)}" if spec.shape else f"one {kind.removesuffix('s')}"
    found = _array(each(name, raw, takes))
    if found is None or found.shape[1:] != spec.shape:
        raise RequestError(f"{name!r} takes {takes} per example")
    with np.errstate(over="ignore", invalid="ignore"):
        values = found.astype(spec.dtype)
    if not (np.isfinite(found) & np.isfinite(values)).all() or (values.dtype.kind != "f" and (values != found).any()):
        raise RequestError(f"{name!r} takes {takes} per example")
    return values


def _array(rows: Sequence[Any]) -> np.ndarray | None:
    """Returns nested lists of numbers as an array; None where they are others, or of different lengths."""
    try:
        found = np.asarray(rows)
        if found.dtype.kind in "OU":
            return np.array([_number(value) for value in found.ravel().tolist()]).reshape(found.shape)
    except (TypeError, ValueError, OverflowError):
        return None
    return found if found.dtype.kind in "buif" else None


def _number(value: Any) -> float:
    """Returns a number, or text that is written as one.

    Raises:
        ValueError: It is none.
    """
    written = isinstance(value, str) and re.match(NUMBER, value.strip(), re.ASCII)
    if not (written or isinstance(value, Real | Decimal)):
        raise ValueError(value)
    return float(value)
