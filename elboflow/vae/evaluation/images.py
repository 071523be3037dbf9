"""Image features of a model, and grids of images as arrays and PNG files."""

import io
import math

import numpy as np
from PIL import Image

from elboflow.vae.terms import Specs

_BACKGROUND = 0.6  # delimits dark and light images, on dark and light pages
_SMALLEST_TILE = 56  # pixels: an 8 × 8 digit is enlarged seven times


def among(specs: Specs) -> list[str]:
    """Returns the names of the features that are images."""
    return [name for name, spec in specs.items() if spec.kind == "image"]


def png(images: np.ndarray, columns: int | None = None) -> bytes:
    """Returns a PNG with a grid of images. Small images are enlarged without smoothing.

    Args:
        images: Intensities in [0, 1], `[images, height, width, channels]`. Three channels are drawn as a colour, any
            other number as the grey of their mean.
        columns: The number of images in a row; by default the grid is about square.
    """
    columns = columns or math.ceil(math.sqrt(len(images)))
    factor = max(1, round(_SMALLEST_TILE / max(images.shape[1:3])))
    file = io.BytesIO()
    Image.fromarray(grid(images, columns, factor, gap=max(2, factor // 2))).save(file, "PNG")
    return file.getvalue()


def grid(images: np.ndarray, columns: int, factor: int = 1, gap: int = 1) -> np.ndarray:
    """Returns a grid of images, row by row, uint8 `[height, width, 3]`.

    Args:
        images: Intensities, `[images, height, width, channels]`, clipped to [0, 1]. Three channels are drawn as a
            colour, any other number as the grey of their mean.
        columns: The number of images in a row. Empty cells have the colour of the gaps.
        factor: The enlargement: pixels per image value along each side.
        gap: The pixels between and around the images.

    Raises:
        ValueError: There are no images, or they have another number of axes.
    """
    if images.ndim != 4 or not len(images):
        raise ValueError(f"a grid takes images [images, height, width, channels]; found shape {list(images.shape)}")
    count, height, width, channels = images.shape
    if channels != 3:
        images = images.mean(axis=-1, keepdims=True)
    rows = math.ceil(count / columns)
    cell_height, cell_width = height * factor + gap, width * factor + gap
    canvas = np.full((rows * cell_height + gap, columns * cell_width + gap, 3), _BACKGROUND)
    for index, image in enumerate(images):
        top, left = gap + index // columns * cell_height, gap + index % columns * cell_width
        canvas[top : top + height * factor, left : left + width * factor] = image.repeat(factor, 0).repeat(factor, 1)
    return np.round(np.clip(canvas, 0.0, 1.0) * 255).astype(np.uint8)
