"""Tables as text: CSV files, or files with another delimiter, with a header."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field

from elboflow.settings import WorkError
from preprocessing.features import Feature
from preprocessing.raw import Batch, Unit, UnreadableRow
from preprocessing.raw.cells import Cells, cells_of, parsed
from preprocessing.raw.listed import ListedTables, TableSource, opened

if TYPE_CHECKING:
    import pyarrow as pa

_BLOCK = 1 << 20  # bytes parsed at a time
_SHOWN = 60  # characters of a malformed row in an error


class CsvSource(TableSource):
    """CSV files, plain or gzipped: a header, then a row for each example.

    All files have the same columns. An empty cell is a missing value. The classes of a category are numbers if nearly
    all of its first cells are integers; otherwise they are names.
    """

    kind: Literal["csv"] = "csv"
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = Field(
        ",", description="the character between two cells"
    )

    def require(self, features: Mapping[str, Feature]) -> None:
        super().require(features)
        for name, feature in features.items():
            if feature.accepts == "arrays":
                raise ValueError(f"features: '{name}' is of kind {feature.kind}; a cell of a csv file holds one value")

    def open(self, features: Mapping[str, Feature]) -> "CsvFiles":
        import pyarrow as pa

        found = CsvFiles.find(self, features)
        for path in (*found.main, *found.held_out):
            found.require_columns(path, found.header(path))
        first = next(found.tables(found.main[0]), None)
        empty = pa.array([], pa.binary())
        cells = {
            name: cells_of(feature, empty if first is None else first.table.column(found.column(name)))
            for name, feature in features.items()
        }
        return replace(found, cells=cells)


@dataclass(frozen=True)
class Table:
    """A block of rows.

    Attributes:
        table: The cells as bytes.
        numbers: The row numbers, from 1 after the header, int64 [rows].
        lost: The malformed rows.
    """

    table: "pa.RecordBatch"
    numbers: np.ndarray
    lost: tuple[UnreadableRow, ...]


@dataclass(frozen=True)
class CsvFiles(ListedTables):
    """The CSV files of a source.

    Attributes:
        cells: The type as which the cells of each feature are parsed.
    """

    cells: Mapping[str, Cells] = field(default_factory=dict)

    def header(self, path: str) -> list[str]:
        """Returns the names of the columns of a file.

        Raises:
            WorkError: It is no CSV file.
        """
        import pyarrow as pa

        with opened(path) as stream:
            try:
                with self._reader(stream, lambda row: "skip") as reader:
                    names: list[str] = reader.schema.names
                    return names
            except pa.ArrowInvalid as error:
                raise WorkError(f"{path} is no whole CSV file: {error}") from None

    def tables(self, path: str) -> Iterator[Table]:
        """Yields the rows of a file in blocks.

        Raises:
            WorkError: The file is not a valid CSV file, or no longer has the columns.
        """
        import pyarrow as pa

        invalid: list[UnreadableRow] = []

        def lose(row: Any) -> str:
            reason = f"{row.expected_columns} cells are expected in a row, not {row.actual_columns}"
            invalid.append(UnreadableRow(row.number - 1, reason, repr(row.text[:_SHOWN])))
            return "skip"

        wanted = sorted({self.column(name) for name in self.features})
        with opened(path) as stream:
            try:
                with self._reader(stream, lose, wanted) as reader:
                    first = 1
                    for batch in reader:  # the reader prefetches: `invalid` may contain rows of later batches, too
                        numbers = np.arange(first, first + len(batch) + len(invalid))
                        numbers = numbers[~np.isin(numbers, [each.row for each in invalid])][: len(batch)]
                        first = int(numbers[-1]) + 1 if len(batch) else first
                        lost = tuple(each for each in invalid if each.row < first)
                        invalid[:] = invalid[len(lost) :]
                        yield Table(batch, numbers, lost)
                    if invalid:
                        yield Table(
                            pa.RecordBatch.from_pylist([], reader.schema), np.zeros(0, np.int64), tuple(invalid)
                        )
            except pa.ArrowInvalid as error:
                raise WorkError(f"{path} is no whole CSV file: {error}") from None
            except pa.ArrowKeyError:
                raise WorkError(f"{path} has not all of the columns {', '.join(wanted)} any more") from None

    def read(self, unit: Unit) -> Iterator[Batch]:
        import pyarrow as pa

        path = self.path(unit)
        for table in self.tables(path):
            columns, unfit = {}, {}
            for name in self.features:
                columns[name], unfit[name] = parsed(table.table.column(self.column(name)), self.cells[name])
            batch = pa.RecordBatch.from_pydict(columns)
            yield Batch(batch, dict.fromkeys(columns, path), table.numbers, "row", unfit, table.lost)

    def _reader(self, stream: Any, lose: Callable[[Any], str], wanted: Sequence[str] = ()) -> Any:
        """Returns a reader of some columns as bytes, or of all columns."""
        import pyarrow as pa
        from pyarrow import csv

        assert isinstance(self.source, CsvSource)
        types = dict.fromkeys(wanted, pa.binary())
        return csv.open_csv(
            pa.PythonFile(_Readable(stream), "r"),
            csv.ReadOptions(use_threads=False, block_size=_BLOCK),
            csv.ParseOptions(delimiter=self.source.delimiter, newlines_in_values=True, invalid_row_handler=lose),
            csv.ConvertOptions(check_utf8=False, column_types=types, include_columns=wanted),
        )


class _Readable:
    """A file object for Arrow that reads from a stream, and leaves it open."""

    closed = False

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def read(self, count: int = -1) -> bytes:
        """Returns the next bytes."""
        return self._stream.read(_BLOCK if count < 0 else count)

    def close(self) -> None:
        """Does nothing: the function that opened the stream closes it."""
