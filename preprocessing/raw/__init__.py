"""Raw data: what a source opens. Work units are cheap to describe; their examples come in batches of Arrow columns."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from elboflow.settings import RequestError
from preprocessing.features import Unfit

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_BYTES = 4 << 20  # of raw values: enough to make a batch's fixed cost small, and still about a cache's size

Part = Literal["main", "held_out"]


@dataclass(frozen=True)
class Unit:
    """A piece of raw data that one worker reads from its start to its end.

    Attributes:
        part: The part of the source; a source may hold some examples out, for a test.
        token: Tells the source which piece it is; nobody else reads it.
        bytes: Its size, about.
        examples: How many examples it holds; None where only reading tells.
    """

    part: Part
    token: tuple[str | int, ...]
    bytes: int
    examples: int | None = None


@dataclass(frozen=True)
class Lost:
    """A piece of raw data that is no row at all, such as a line of a CSV file with too many fields."""

    row: int
    reason: str
    found: str = ""


@dataclass(frozen=True)
class Batch:
    """Some rows as they are in the source.

    Attributes:
        columns: The raw values of each feature, by the feature's name.
        places: For each feature the array, the file, or the like, that an error should name.
        rows: The number of each row in these places, int64 [rows].
        noun: What such a number counts: example, line, row.
        unfit: By feature, rows whose value the source could not read.
        lost: What has no row in `columns`.
    """

    columns: "pa.RecordBatch"
    places: Mapping[str, str]
    rows: np.ndarray
    noun: str = "example"
    unfit: Mapping[str, tuple[Unfit, ...]] = field(default_factory=dict)
    lost: tuple[Lost, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def place(self) -> str:
        """The place of the first feature: where a row as a whole is."""
        return next(iter(self.places.values()))


class Raw(ABC):
    """Raw data that were found. They are pickled to reach the workers, so they hold names, not data."""

    def require_held_out(self) -> None:
        """Raises a RequestError if the source turns out to hold nothing out."""
        raise RequestError(f"data.splits: {self.describe()}: there is no held-out part")

    @abstractmethod
    def fingerprint(self) -> str:
        """Returns the SHA-256, in hexadecimal, of everything that the examples are made from."""

    @abstractmethod
    def describe(self) -> str:
        """Returns a line for a person that says what was read, without the folders of this machine."""

    @abstractmethod
    def paths(self) -> list[str]:
        """Returns the files that workers read: paths of this machine, or URIs."""

    @abstractmethod
    def units(self) -> list[Unit]:
        """Returns the work units, in the source's order.

        Raises:
            WorkError: The data are damaged, as far as a look at their headers shows, or do not belong together.
        """

    @abstractmethod
    def read(self, unit: Unit) -> Iterator[Batch]:
        """Yields the rows of a work unit in batches, in the source's order; the cuts are the same on every machine.

        Raises:
            WorkError: The data are damaged.
        """

    def short_place(self, place: str) -> str:
        """Returns a place of a batch as `rejected.jsonl` has it: without the folders of this machine."""
        return place.rpartition("/")[2]

    def types(self) -> "Mapping[str, pa.DataType]":
        """Returns the type of each feature's column, as its header or the first rows say; nothing if there is none.

        Raises:
            WorkError: The data are damaged.
        """
        first = next((batch for unit in self.units() for batch in self.read(unit)), None)
        return {} if first is None else dict(zip(first.columns.schema.names, first.columns.schema.types, strict=True))
