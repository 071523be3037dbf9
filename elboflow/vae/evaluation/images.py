"""Which features are images, and grids of images, as arrays and as PNG files."""

import io
import math

import numpy as np
from PIL import Image

from elboflow.vae.terms import Specs

_BACKGROUND = 0.85
_SMALLEST_TILE = 56  # pixels: an 8 × 8 digit is enlarged seven times to be seen


def among(specs: Specs) -> list[str]:
    """Returns the features that are images, by name."""
    return [name for name, spec in specs.items() if spec.kind == "image"]


def png(images: np.ndarray, columns: int | None = None) -> bytes:
    """Returns a PNG of images in a grid, small ones enlarged without smoothing.

    Args:
        images: Intensities in [0, 1], `[images, height, width, channels]`: 3 channels are a colour, others their mean.
        columns: Images in a row; the grid is about square where it is not given.
    """
    columns = columns or math.ceil(math.sqrt(len(images)))
    factor = max(1, round(_SMALLEST_TILE / max(images.shape[1:3])))
    file = io.BytesIO()
    Image.fromarray(grid(images, columns, factor, gap=max(2, factor // 2))).save(file, "PNG")
    return file.getvalue()


def grid(images: np.ndarray, columns: int, factor: int = 1, gap: int = 1) -> np.ndarray:
    """Returns images side by side, row by row, uint8 `[height, width, 3]`.

    Args:
        images: Intensities in [0, 1], `[images, height, width, channels]`; values beyond are cut. Three channels are
            drawn as a colour, any other number as the grey of their mean.
        columns: Images in a row. Places that stay empty have the colour of the gaps.
        factor: Pixels to the side for each value of an image.
        gap: Pixels between the images and around them.

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
