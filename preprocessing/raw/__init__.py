"""Raw data of an open source: work units, and batches of rows as Arrow columns."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from elboflow.settings import RequestError
from preprocessing.features import Unfit

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_BYTES = 4 << 20  # raw values per batch: the overhead per batch is small, and a batch about fits the CPU cache

Part = Literal["main", "held_out"]


@dataclass(frozen=True)
class Unit:
    """A work unit: a piece of raw data that one worker reads from start to end.

    Attributes:
        part: The part of the source: the main part, or the held-out part for a test split.
        token: Identifies the piece. Only the source interprets it.
        bytes: The approximate size.
        examples: The number of examples; None if it is known only after reading.
    """

    part: Part
    token: tuple[str | int, ...]
    bytes: int
    examples: int | None = None


@dataclass(frozen=True)
class UnreadableRow:
    """A row that cannot be read at all, such as a line of a CSV file with too many fields.

    Attributes:
        row: The number of the row in its file.
        reason: The rule that the row breaks.
        found: The beginning of the row, for messages; "" if the reason says enough.
    """

    row: int
    reason: str
    found: str = ""


@dataclass(frozen=True)
class Batch:
    """A batch of rows of a source.

    Attributes:
        columns: The raw values of each feature, by the feature's name.
        places: The array or file of each feature, for errors.
        rows: The number of each row in its place, int64 [rows].
        noun: What the numbers count: example, line, row.
        unfit: By feature, the rows whose value the source cannot parse.
        lost: The rows that cannot be read at all. They are not in `columns`.
    """

    columns: "pa.RecordBatch"
    places: Mapping[str, str]
    rows: np.ndarray
    noun: str = "example"
    unfit: Mapping[str, tuple[Unfit, ...]] = field(default_factory=dict)
    lost: tuple[UnreadableRow, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    def first(self, count: int) -> "Batch":
        """Returns the first rows, those that cannot be read among them."""
        lost = sorted(self.lost, key=lambda each: each.row)
        numbers = np.sort(np.concatenate([self.rows, np.array([each.row for each in lost], np.int64)]))[:count]
        if len(numbers) == len(self.rows) + len(lost):
            return self
        kept = int(np.isin(self.rows, numbers).sum())
        return Batch(
            self.columns.take(np.arange(kept)),  # a copy: the bits behind the last row of a slice are those of others
            self.places,
            self.rows[:kept],
            self.noun,
            {name: tuple(each.before(kept) for each in found) for name, found in self.unfit.items()},
            tuple(each for each in lost if each.row in numbers),
        )

    @property
    def place(self) -> str:
        """The place of the first feature, which messages about a whole row name."""
        return next(iter(self.places.values()))


class Raw(ABC):
    """The raw data of a source. Beam pickles an instance for the workers, so it contains paths, not data."""

    def require_held_out(self) -> None:
        """Raises a RequestError if the source has no held-out part."""
        raise RequestError(f"data.splits: {self.describe()}: there is no held-out part")

    @abstractmethod
    def fingerprint(self) -> str:
        """Returns the SHA-256, in hexadecimal, of all data that determine the examples."""

    @abstractmethod
    def describe(self) -> str:
        """Returns the source in one line for messages, without local folders."""

    @abstractmethod
    def paths(self) -> list[str]:
        """Returns the files that workers read: local paths or URIs."""

    @abstractmethod
    def units(self) -> list[Unit]:
        """Returns the work units, in the order of the source.

        Raises:
            WorkError: A header is damaged, or the arrays of the features have different numbers of examples.
        """

    @abstractmethod
    def read(self, unit: Unit) -> Iterator[Batch]:
        """Yields the rows of a work unit in batches, in the order of the source. Batches are equal on all machines.

        Raises:
            WorkError: The data are damaged.
        """

    def short_place(self, place: str) -> str:
        """Returns a place of a batch as `rejected.jsonl` has it: without the folders of this machine."""
        return place.rpartition("/")[2]

    def types(self) -> "Mapping[str, pa.DataType]":
        """Returns the type of each feature's column from the header or the first batch; empty for an empty source.

        Raises:
            WorkError: The data are damaged.
        """
        first = next((batch for unit in self.units() for batch in self.read(unit)), None)
        return {} if first is None else dict(zip(first.columns.schema.names, first.columns.schema.types, strict=True))
