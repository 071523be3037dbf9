"""Raw values, codes and intensities: the three ways to write a pixel.

A raw value lies in the data's own range [low, high]; its code is round((x - low) / (high - low) · (levels - 1)), as
preprocessing stores it; a model's intensity is the code over (levels - 1), in [0, 1].
"""

import numpy as np

from settings import RequestError
from vae.data import ImageSpec

Range = tuple[float, float]


def codes(raw: np.ndarray, range: Range, spec: ImageSpec) -> np.ndarray:
    """Returns the codes of raw images, uint8 `[images, height, width, channels]`.

    Raises:
        RequestError: The images have another shape, or values outside the range.
    """
    raw = np.asarray(raw)
    low, high = range
    if raw.ndim != 4 or raw.shape[1:] != spec.shape:
        shape = ", ".join(map(str, spec.shape))
        raise RequestError(f"the model takes images of shape [images, {shape}]; found {list(raw.shape)}")
    unfit = ~((raw >= low) & (raw <= high))
    if unfit.any():
        at = tuple(np.argwhere(unfit)[0])
        raise RequestError(f"the model takes values from {low} to {high}; image {at[0]} holds {raw[at]}")
    return np.rint((raw.astype(np.float64) - low) / (high - low) * (spec.levels - 1)).astype(np.uint8)


def quantised(intensities: np.ndarray, spec: ImageSpec) -> np.ndarray:
    """Returns the nearest codes of intensities, uint8 of the same shape."""
    return np.rint(np.clip(intensities, 0, 1) * (spec.levels - 1)).astype(np.uint8)


def raw(intensities: np.ndarray, range: Range) -> np.ndarray:
    """Returns intensities in the data's own range, float32 of the same shape."""
    low, high = range
    return (low + np.asarray(intensities, np.float64) * (high - low)).astype(np.float32)
