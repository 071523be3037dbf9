"""What a model is shown: images as integer codes, and the identity of each example."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from elboflow.settings import WorkError


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
    """Some examples, held in memory.

    Attributes:
        images: Codes, uint8 `[examples, height, width, channels]`.
        keys: The identity of each example, int64 `[examples]`: randomness in evaluation is a function of it.
        labels: int64 `[examples]`, or None; shown in figures, never to the model.
        weights: What each example counts in the loss of training, float32 `[examples]`, of mean 1 over the split; None:
            all count the same. No bound that is reported is weighted.
    """

    images: np.ndarray
    keys: np.ndarray
    labels: np.ndarray | None = None
    weights: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.images)

    def head(self, count: int) -> "Examples":
        """Returns the first `count` examples."""
        return self[:count]

    def __getitem__(self, rows: slice | np.ndarray) -> "Examples":
        """Returns the examples of these rows."""
        return Examples(
            self.images[rows],
            self.keys[rows],
            None if self.labels is None else self.labels[rows],
            None if self.weights is None else self.weights[rows],
        )

    @staticmethod
    def joined(parts: "Sequence[Examples]") -> "Examples":
        """Returns the examples of all parts, which hold the same kinds of arrays, one part after the other.

        Their arrays are contiguous and may be written to, as frameworks like them, and copies where they must be.
        """
        labels = [part.labels for part in parts if part.labels is not None]
        weights = [part.weights for part in parts if part.weights is not None]
        return Examples(
            _joined([part.images for part in parts]),
            _joined([part.keys for part in parts]),
            _joined(labels) if labels else None,
            _joined(weights) if weights else None,
        )

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


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts) if len(parts) > 1 else np.require(parts[0], requirements=["C", "W"])


class Source(Protocol):
    """A split that is read shard by shard; which shard is read when is the reader's to say."""

    @property
    def counts(self) -> Sequence[int]:
        """Examples of each shard, in the order of the dataset."""

    def read(self, shard: int) -> Examples:
        """Reads a shard, from any thread.

        Raises:
            WorkError: It is missing or damaged.
        """


@dataclass(frozen=True)
class InMemory:
    """Examples that are in memory already, as a source of one shard."""

    examples: Examples

    @property
    def counts(self) -> Sequence[int]:
        return (len(self.examples),)

    def read(self, shard: int) -> Examples:
        return self.examples
