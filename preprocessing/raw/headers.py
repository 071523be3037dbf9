"""What a file says of an array, held against the experiment and against the file before any value is read.

A header of a few bytes can promise any number of values, and a few megabytes of a compressed file hold gigabytes.
"""

from dataclasses import dataclass
from math import prod

import numpy as np

from elboflow.settings import WorkError
from elboflow.settings.text import counted
from preprocessing.features import Feature

RATIO = 1032
"""How many bytes one compressed byte can stand for: deflate's bound, of 258 bytes from 2 bits."""

_DIMENSIONS = 64  # of an array, in NumPy 2
_SIZES = 2**63  # an int64
_NUMBER = 32  # bytes of the widest: a complex of two long doubles
_TEXT = 4096  # bytes of a class's name


@dataclass(frozen=True)
class Header:
    """An array in a file.

    Attributes:
        place: What errors call it.
        dtype: Of its values.
        shape: With the examples along the first axis.
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
        """The bytes of one example."""
        return self.dtype.itemsize * prod(self.row)

    @property
    def bytes(self) -> int:
        """The bytes of all values."""
        return self.shape[0] * self.row_bytes

    def __str__(self) -> str:
        return f"{self.dtype} of shape {shown(self.shape)}"

    def require(self, name: str, feature: Feature) -> None:
        """Checks that one example has as many values as the feature of this name, and no value is of any size.

        Raises:
            WorkError: It has not; or the shape or the type are not those of an array of examples.
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
        """Checks that the file holds this many bytes of values.

        Raises:
            WorkError: It holds more or fewer.
        """
        if found < self.bytes:
            raise WorkError(
                f"{self.place} is truncated: its header promises "
                f"{counted(self.bytes - found, 'more byte')} than it holds"
            )
        if found > self.bytes:
            raise WorkError(f"{self.place} holds more bytes than its header promises")

    def require_room(self, packed: int) -> None:
        """Checks that so many compressed bytes can hold all values.

        Raises:
            WorkError: They cannot.
        """
        if self.bytes > RATIO * packed:
            raise WorkError(
                f"{self.place} is truncated: its header ({self}) promises {self.bytes:,} bytes; "
                f"{packed:,} compressed bytes cannot hold them"
            )


def shown(shape: tuple[int, ...]) -> str:
    """Returns a shape as a person reads it, shortened."""
    sizes = [f"{size}" if abs(size) < 10**20 else "…" for size in shape[:8]]
    return f"[{', '.join(sizes)}{', …' if len(shape) > 8 else ''}]"
