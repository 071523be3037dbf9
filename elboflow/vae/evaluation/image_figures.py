"""Figures of images, each from arrays to a PNG."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from elboflow.vae.evaluation import images
from elboflow.vae.evaluation.figures import WIDTH, encoded

_INK = "#777780"
"""Its contrast is 4.4 with white, 4.1 with a dark page: the figures are transparent, as images must not be inverted."""


def reconstructions(originals: np.ndarray, reconstructed: np.ndarray, columns: int = 10) -> bytes:
    """Draws each original with its reconstruction below.

    Args:
        originals: Intensities in [0, 1], `[images, height, width, channels]`.
        reconstructed: Intensities of the same shape.
        columns: The number of pairs in a row.
    """
    columns = min(columns, len(originals))
    rows = len(originals) // columns
    kept = [part[: rows * columns].reshape(rows, columns, *part.shape[1:]) for part in (originals, reconstructed)]
    pairs = np.stack(kept, axis=1).reshape(-1, *originals.shape[1:])
    return _picture(pairs, columns, row_labels=["original", "reconstruction"] * rows, column_labels=None)


def traversal(intensities: np.ndarray, units: np.ndarray, kl: np.ndarray, values: np.ndarray) -> bytes:
    """Draws a row of images for each latent unit, with the value of the unit increasing from left to right.

    Args:
        intensities: `[units * values, height, width, channels]`.
        units: The indices of the units, `[units]`.
        kl: The KL of each unit in nats, `[units]`.
        values: The values of the units, `[values]`.
    """
    rows = [f"unit {unit} ({nats:.2f} nats)" for unit, nats in zip(units, kl, strict=True)]
    return _picture(intensities, len(values), rows, [_signed(value) for value in values], "value of the unit")


def _picture(
    intensities: np.ndarray,
    columns: int,
    row_labels: Sequence[str],
    column_labels: Sequence[str] | None,
    column_title: str = "",
) -> bytes:
    """Draws a grid of images with labels of rows and columns."""
    height, width = intensities.shape[1:3]
    gap = max(1, round(max(height, width) / 14))
    picture = images.grid(intensities, columns, gap=gap)
    across = columns * min(0.62, WIDTH / columns)
    down = across * picture.shape[0] / picture.shape[1]
    beside, below = 0.25 + 0.085 * max(map(len, row_labels)), 0.6 if column_labels else 0.15
    figure = Figure(figsize=(across + beside, down + below), layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.06))
    figure.patch.set_alpha(0)
    axes = figure.subplots()
    axes.imshow(picture, interpolation="nearest")
    middles = np.arange(len(row_labels)) * (height + gap) + gap + (height - 1) / 2
    axes.set_yticks(middles, row_labels)
    if column_labels:
        axes.set_xticks(np.arange(columns) * (width + gap) + gap + (width - 1) / 2, column_labels)
        axes.set_xlabel(column_title, color=_INK, fontsize=10)
    else:
        axes.set_xticks([])
    axes.tick_params(length=0, labelsize=10, labelcolor=_INK)
    axes.spines[:].set_visible(False)
    return encoded(figure)


def _signed(value: float) -> str:
    return "0" if value == 0 else f"{value:+g}".replace("-", "\N{MINUS SIGN}")
