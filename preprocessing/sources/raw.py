"""What every source gives: work units that are cheap to describe, and batches of arrays."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Protocol

import numpy as np

from elboflow.settings import WorkError
from elboflow.settings.text import counted

BATCH_BYTES = 4 << 20  # of raw values: enough to make a batch's fixed cost small, and still about a cache's size


@dataclass(frozen=True)
class Unit:
    """A piece of raw data that one worker reads: `count` examples from number `first` of a part of the source."""

    held_out: bool
    first: int
    count: int


@dataclass(frozen=True)
class Batch:
    """Some examples as they are in the source.

    Attributes:
        arrays: The raw values of each feature, [examples, ...].
        places: For each feature the array, file, or the like, that an error should name.
        first: The number of the first example in these places, from 0.
    """

    arrays: dict[str, np.ndarray]
    places: dict[str, str]
    first: int


class Raw(Protocol):
    """Raw data of one kind. It is pickled to reach the workers, so it holds names, not data."""

    def require_held_out(self) -> None:
        """Raises a RequestError if the source turns out to hold nothing out."""

    def fingerprint(self) -> str:
        """Returns the SHA-256 of everything that the examples are made from, in hexadecimal."""

    def describe(self) -> str:
        """Returns a line for a person that says what was read, without the folders of this machine."""

    def paths(self) -> list[str]:
        """Returns the files that workers read: paths of this machine, or URIs."""

    def units(self) -> list[Unit]:
        """Returns the work units, in the source's order.

        Raises:
            WorkError: The data are damaged, as far as a look at their headers shows, or do not belong together.
        """

    def read(self, unit: Unit) -> Iterator[Batch]:
        """Yields the examples of a work unit in batches, in the source's order.

        Raises:
            WorkError: The data are damaged.
        """


class Stream(Protocol):
    """Bytes that are read from one end to the other."""

    def read(self, count: int, /) -> bytes:
        """Returns the next `count` bytes, or fewer where they end."""


@dataclass(frozen=True)
class Column:
    """An open array in a file, positioned at the first row to read."""

    place: str
    stream: Stream
    dtype: np.dtype
    row: tuple[int, ...]

    def take(self, count: int) -> np.ndarray:
        """Reads the next `count` rows, [count, *row]."""
        expected = count * self.dtype.itemsize * prod(self.row)
        data = self.stream.read(expected)
        if len(data) != expected:
            raise WorkError(
                f"{self.place} is truncated: its header promises "
                f"{counted(expected - len(data), 'more byte')} than it holds"
            )
        return np.frombuffer(data, self.dtype).reshape(count, *self.row)


def batches(columns: dict[str, Column], unit: Unit) -> Iterator[Batch]:
    """Yields a work unit's batches from the open arrays of its features."""
    places = {feature: column.place for feature, column in columns.items()}
    row_bytes = sum(column.dtype.itemsize * prod(column.row) for column in columns.values())
    size = max(1, BATCH_BYTES // max(1, row_bytes))
    for start in range(0, unit.count, size):
        count = min(size, unit.count - start)
        arrays = {feature: column.take(count) for feature, column in columns.items()}
        yield Batch(arrays, places, unit.first + start)


def same_count(counts: dict[str, int]) -> int:
    """Returns the number of examples that the places of all features agree on."""
    if len(set(counts.values())) != 1:
        found = ", ".join(f"{place} holds {count:,}" for place, count in counts.items())
        raise WorkError(f"every feature must have the same number of examples: {found}")
    return next(iter(counts.values()))
