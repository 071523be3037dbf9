"""What a model is shown: images as integer codes, and the identity of each example."""

from dataclasses import dataclass

import numpy as np

from settings import WorkError


@dataclass(frozen=True)
class ImageSpec:
    """The images of a dataset.

    Attributes:
        shape: Height, width, channels.
        levels: Number of intensities; codes run from 0 to `levels - 1`.
    """

    shape: tuple[int, int, int]
    levels: int

    @property
    def dimensions(self) -> int:
        """Number of values in one image."""
        return int(np.prod(self.shape))


@dataclass(frozen=True)
class Examples:
    """A split held in memory.

    Attributes:
        images: Codes, uint8 `[examples, height, width, channels]`.
        keys: The identity of each example, int64 `[examples]`: randomness in evaluation is a function of it.
        labels: int64 `[examples]`, or None; shown in figures, never to the model.
    """

    images: np.ndarray
    keys: np.ndarray
    labels: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.images)

    def head(self, count: int) -> "Examples":
        """Returns the first `count` examples."""
        return Examples(self.images[:count], self.keys[:count], None if self.labels is None else self.labels[:count])

    def check(self, spec: ImageSpec, split: str) -> None:
        """Raises WorkError where the split is empty or its images are not what a model of `spec` takes."""
        if not len(self):
            raise WorkError(f"the {split} split is empty; data.splits must leave it at least one example")
        if self.images.shape[1:] != spec.shape:
            found = list(self.images.shape[1:])
            raise WorkError(f"the {split} split holds images of shape {found}; the model takes {list(spec.shape)}")
        if self.images.max() >= spec.levels:
            raise WorkError(
                f"the {split} split holds codes up to {self.images.max()}; the model takes 0 to {spec.levels - 1}"
            )
