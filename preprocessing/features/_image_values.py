"""Raw values, codes and intensities: the three scales of a pixel.

A raw value x lies in the range [low, high] of the data. Preprocessing stores its code,
round((x - low) / (high - low) · (levels - 1)). A model's intensity is code / (levels - 1), in [0, 1].
"""

from contextlib import suppress
from numbers import Real

import numpy as np
from numpy.typing import ArrayLike

from elboflow.artifacts.spec import FeatureSpec
from elboflow.settings import RequestError


def codes(raw: ArrayLike, spec: FeatureSpec) -> np.ndarray:
    """Returns the codes of raw images, uint8 `[images, height, width, channels]`.

    Args:
        raw: At least one image, `[images, height, width, channels]`, of any numeric type, as an array or as lists.
            Images of one channel may lack the last axis.
        spec: The spec of the images. Its `range` is the raw value of the lowest and of the highest code.

    Raises:
        RequestError: There are no images, the shape is wrong, or values are no numbers or outside the range. The
            message never contains the images.
    """
    values = _numbers(raw)
    if values.ndim and not len(values):
        raise RequestError("there are no images; the model takes at least 1")
    shapes = [spec.shape, spec.shape[:2]] if spec.shape[2] == 1 else [spec.shape]
    if values.shape[1:] not in shapes:
        allowed = " or ".join(f"[images, {', '.join(map(str, shape))}]" for shape in shapes)
        raise RequestError(f"the model takes images of shape {allowed}; found {list(values.shape)}")
    low, high = spec.facts["range"]
    values = values.reshape(len(values), *spec.shape)
    unfit = ~((values >= low) & (values <= high))
    if unfit.any():
        at = tuple(np.argwhere(unfit)[0])
        finite = values[np.isfinite(values)]
        found = f"; the finite values lie between {finite.min():g} and {finite.max():g}" if len(finite) else ""
        raise RequestError(f"the model takes values from {low} to {high}; image {at[0]} holds {values[at]}{found}")
    return np.rint((values.astype(np.float64) - low) / (high - low) * (_levels(spec) - 1)).astype(np.uint8)


def _numbers(raw: ArrayLike) -> np.ndarray:
    try:
        values = np.asarray(raw)
        if values.dtype.kind == "O" and all(isinstance(cell, list | np.ndarray) for cell in values.flat):
            values = np.asarray(values.tolist())  # a column of a pandas table has an image in each cell
    except ValueError:  # NumPy's error for lists of different lengths
        raise RequestError("the model takes images of one shape; found lists of different lengths") from None
    if values.dtype.kind == "O":  # columns of pandas may have this dtype
        if not all(isinstance(value, Real) for value in values.flat):
            raise RequestError("the model takes images of numbers; found other objects")
        with suppress(OverflowError):  # an integer too large for float64 is rejected below
            return values.astype(np.float64)
    if values.dtype.kind == "b" or (values.dtype.kind == "f" and values.dtype.itemsize < 4):
        return values.astype(np.float32)  # NumPy cannot compare float16 with large numbers
    if values.dtype.kind not in "uif":
        raise RequestError(f"the model takes images of numbers; found an array of {values.dtype}")
    return values


def quantised(intensities: np.ndarray, spec: FeatureSpec) -> np.ndarray:
    """Returns the nearest codes of intensities, uint8 of the same shape."""
    return np.rint(np.clip(intensities, 0, 1) * (_levels(spec) - 1)).astype(np.uint8)


def intensities(codes: np.ndarray, spec: FeatureSpec) -> np.ndarray:
    """Returns the intensities of codes, float32 of the same shape."""
    return codes / np.float32(_levels(spec) - 1)


def raw(intensities: np.ndarray, spec: FeatureSpec) -> np.ndarray:
    """Returns the raw values of intensities, in the range of the data, float32 of the same shape."""
    low, high = spec.facts["range"]
    return (low + np.asarray(intensities, np.float64) * (high - low)).astype(np.float32)


def _levels(spec: FeatureSpec) -> int:
    assert spec.levels is not None
    return spec.levels
