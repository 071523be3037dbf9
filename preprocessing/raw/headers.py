"""Checks of an array's header against the experiment and the file size, before any value is read.

A damaged header can promise any number of values, and a few compressed megabytes can expand to gigabytes.
"""

from dataclasses import dataclass
from math import prod

import numpy as np

from elboflow.settings import WorkError
from elboflow.settings.text import counted
from preprocessing.features import Feature

RATIO = 1032
"""The largest compression ratio of deflate: 2 bits can encode 258 bytes."""

_DIMENSIONS = 64  # the most dimensions of an array in NumPy 2
_SIZES = 2**63  # an axis is shorter: its size is an int64
_NUMBER = 32  # bytes of the largest number: a complex of two long doubles
_TEXT = 4096  # the most bytes of a class name


@dataclass(frozen=True)
class Header:
    """The header of an array in a file.

    Attributes:
        place: The array, for errors.
        dtype: The dtype of the values.
        shape: The shape, with the examples along the first axis.
    """

    place: str
    dtype: np.dtype
    shape: tuple[int, ...]

    @property
    def row(self) -> tuple[int, ...]:
        """The shape of one example."""
        return self.shape[1:]

    @property
    def row_bytes(self) -> int:
        """The size of one example in bytes."""
        return self.dtype.itemsize * prod(self.row)

    @property
    def bytes(self) -> int:
        """The size of all values in bytes."""
        return self.shape[0] * self.row_bytes

    def __str__(self) -> str:
        return f"{self.dtype} of shape {shown(self.shape)}"

    def require(self, name: str, feature: Feature) -> None:
        """Checks that the shape and the dtype fit a feature, and that values have a plausible size.

        Raises:
            WorkError: An example has another number of values than the feature, or the array cannot hold examples.
        """
        if self.dtype.kind == "V" or not 0 < self.dtype.itemsize <= (_TEXT if self.dtype.kind in "US" else _NUMBER):
            raise WorkError(
                f"{self.place}: the feature {name!r} has values of type {self.dtype!s:.80}; numbers, or for a "
                f"category texts of up to {_TEXT:,} bytes, are expected"
            )
        if not self.shape:
            raise WorkError(
                f"{self.place} is a single value; an array with the examples along its first axis is expected"
            )
        if len(self.shape) > _DIMENSIONS:
            raise WorkError(
                f"{self.place} has {counted(len(self.shape), 'dimension')}; at most {_DIMENSIONS} are possible"
            )
        if any(isinstance(size, bool) or not 0 <= size < _SIZES for size in self.shape):
            raise WorkError(f"{self.place} has the shape {shown(self.shape)}; sizes are whole numbers from 0 to 2^63")
        expected = feature.row_shape
        if expected is None or prod(self.row) == prod(expected):
            return
        if expected:
            raise WorkError(
                f"{self.place}: the feature {name!r} has the shape {shown(self.row)}; "
                f"data.features.{name}.shape says {list(expected)}"
            )
        raise WorkError(
            f"{self.place}: the feature {name!r} is {self.dtype} of shape {shown(self.row)}; "
            f"a {feature.kind} is one value per example"
        )

    def require_content(self, found: int) -> None:
        """Checks the size of the values in the file, `found` bytes, against the header.

        Raises:
            WorkError: The file holds more or fewer bytes.
        """
        if found < self.bytes:
            raise WorkError(
                f"{self.place} is truncated: its header promises "
                f"{counted(self.bytes - found, 'more byte')} than it holds"
            )
        if found > self.bytes:
            raise WorkError(f"{self.place} holds more bytes than its header promises")

    def require_room(self, packed: int) -> None:
        """Checks that `packed` compressed bytes can hold all values.

        Raises:
            WorkError: Even the largest compression ratio would not suffice.
        """
        if self.bytes > RATIO * packed:
            raise WorkError(
                f"{self.place} is truncated: its header ({self}) promises {self.bytes:,} bytes; "
                f"{packed:,} compressed bytes cannot hold them"
            )


def shown(shape: tuple[int, ...]) -> str:
    """Returns a shape for messages, shortened."""
    sizes = [f"{size}" if abs(size) < 10**20 else "…" for size in shape[:8]]
    return f"[{', '.join(sizes)}{', …' if len(shape) > 8 else ''}]"
