"""Raw values, codes and intensities: the three ways to write a pixel.

A raw value lies in the data's own range [low, high]; its code is round((x - low) / (high - low) · (levels - 1)), as
preprocessing stores it; a model's intensity is the code over (levels - 1), in [0, 1].
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
        raw: At least one image, `[images, height, width, channels]`, of any type of number, as an array or as lists;
            images of one channel may lack the last axis.
        spec: Of the images; its `range` has the raw values of the lowest and of the highest code.

    Raises:
        RequestError: There are no images, or they have another shape, or values that are no numbers or outside the
            range. The message never holds the images.
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
    except ValueError:  # NumPy's word for lists of different lengths
        raise RequestError("the model takes images of one shape; found lists of different lengths") from None
    if values.dtype.kind == "O":  # as pandas has them
        if not all(isinstance(value, Real) for value in values.flat):
            raise RequestError("the model takes images of numbers; found other objects")
        with suppress(OverflowError):  # a whole number beyond all floats is refused below
            return values.astype(np.float64)
    if values.dtype.kind == "b" or (values.dtype.kind == "f" and values.dtype.itemsize < 4):
        return values.astype(np.float32)  # which can be compared with any number
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
    """Returns intensities in the data's own range, float32 of the same shape."""
    low, high = spec.facts["range"]
    return (low + np.asarray(intensities, np.float64) * (high - low)).astype(np.float32)


def _levels(spec: FeatureSpec) -> int:
    assert spec.levels is not None
    return spec.levels
