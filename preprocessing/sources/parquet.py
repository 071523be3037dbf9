"""Parquet files, read by row group."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from elboflow.settings import WorkError
from preprocessing import files
from preprocessing.features import Feature
from preprocessing.raw import BATCH_BYTES, Batch, Part, Unit
from preprocessing.raw.listed import ListedTables, TableSource

if TYPE_CHECKING:
    import pyarrow as pa


class ParquetSource(TableSource):
    """Parquet files.

    All files have the same columns. An image is a column of nested or flat lists, or of Arrow's fixed-shape tensors.
    """

    kind: Literal["parquet"] = "parquet"

    def open(self, features: Mapping[str, Feature]) -> "ParquetFiles":
        found = ParquetFiles.find(self, features)
        for path in (*found.main, *found.held_out):
            with _opened(path) as file:
                found.require_columns(path, file.schema_arrow.names)
        return found


class ParquetFiles(ListedTables):
    """The Parquet files of a source. A row group is a work unit."""

    def units(self) -> list[Unit]:
        found = []
        parts: tuple[Part, ...] = ("main", "held_out")
        for part in parts:
            for number, path in enumerate(self.of(part)):
                with _opened(path) as file:
                    groups = [file.metadata.row_group(group) for group in range(file.metadata.num_row_groups)]
                first = 0
                for place, group in enumerate(groups):
                    found.append(Unit(part, (number, place, first), group.total_byte_size, group.num_rows))
                    first += group.num_rows
        return found

    def types(self) -> "dict[str, pa.DataType]":
        with _opened(self.main[0]) as file:
            return {name: file.schema_arrow.field(self.column(name)).type for name in self.features}

    def read(self, unit: Unit) -> Iterator[Batch]:
        import pyarrow as pa

        path, (_, group, row) = self.path(unit), map(int, unit.token)
        wanted = sorted({self.column(name) for name in self.features})
        size = max(1, (unit.examples or 1) * BATCH_BYTES // max(1, unit.bytes))
        with _opened(path) as file:
            for batch in file.iter_batches(size, row_groups=[group], columns=wanted, use_threads=False):
                columns = {name: batch.column(self.column(name)) for name in self.features}
                rows = np.arange(row, row + len(batch))
                yield Batch(pa.RecordBatch.from_pydict(columns), dict.fromkeys(columns, path), rows, "row")
                row += len(batch)


@contextmanager
def _opened(path: str) -> Iterator[Any]:
    """Opens a Parquet file.

    Raises:
        WorkError: The file is damaged.
    """
    import pyarrow as pa
    from pyarrow import parquet

    with files.open_to_read(path) as stream:
        try:
            yield parquet.ParquetFile(stream)
        except (pa.ArrowException, OSError) as error:
            raise WorkError(f"{path} is no whole Parquet file: {str(error).partition(chr(10))[0]:.200}") from None
