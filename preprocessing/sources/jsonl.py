"""JSON Lines files: an object on each line, with features by name."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from elboflow.settings import RequestError
from preprocessing.features import Feature
from preprocessing.raw import Batch, Unit, UnreadableRow
from preprocessing.raw.cells import Cells, json_cells_of, json_column
from preprocessing.raw.lines import lines
from preprocessing.raw.listed import ListedTables, TableSource, opened, some


class JsonlSource(TableSource):
    """JSON Lines files, plain or gzipped: a JSON object on each line.

    The column of a feature is a key of the objects.
    """

    kind: Literal["jsonl"] = "jsonl"

    def open(self, features: Mapping[str, Feature]) -> "JsonLines":
        found = JsonLines.find(self, features)
        first = next(found.objects(found.main[0]), None)
        chosen = found.cells if first is None else found.cells_of(first)
        return replace(found, cells=chosen)


@dataclass(frozen=True)
class Objects:
    """The objects of a block of lines.

    Attributes:
        found: The objects.
        numbers: The line number of each object, int64 [objects].
        lost: The lines without a JSON object.
    """

    found: list[dict[str, Any]]
    numbers: np.ndarray
    lost: tuple[UnreadableRow, ...]

    def values(self, key: str) -> list[Any]:
        """Returns the value of a key in each object; None if the key is missing."""
        return [each.get(key) for each in self.found]


@dataclass(frozen=True)
class JsonLines(ListedTables):
    """The JSON Lines files of a source.

    Attributes:
        cells: The type as which the values of each feature are read.
    """

    cells: Mapping[str, Cells] = field(default_factory=dict)

    def cells_of(self, first: Objects) -> dict[str, Cells]:
        """Returns what the values of each feature are read as, by the first objects.

        Raises:
            RequestError: None of them has the key of a feature.
        """
        keys = list(dict.fromkeys(key for each in first.found for key in each))
        cells = {}
        for name, feature in self.features.items():
            key = self.column(name)
            if keys and key not in keys:
                raise RequestError(
                    f"data.source: no object of the first lines of {self.main[0]} has a {key!r}; they have {some(keys)}"
                )
            cells[name] = json_cells_of(feature, [value for value in first.values(key) if value is not None])
        return cells

    def objects(self, path: str) -> Iterator[Objects]:
        """Yields the objects of a file in blocks of lines."""
        with opened(path) as stream:
            for block in lines(stream, path):
                found, numbers, lost = [], [], []
                for number, line in zip(block.numbers.tolist(), block.column.to_pylist(), strict=True):
                    try:
                        value = json.loads(line)
                    except (ValueError, RecursionError):
                        value = None
                    if isinstance(value, dict):
                        found.append(value)
                        numbers.append(number)
                    else:
                        lost.append(UnreadableRow(number, "a JSON object is expected", _shown(line)))
                yield Objects(found, np.array(numbers, np.int64), tuple(lost))

    def read(self, unit: Unit) -> Iterator[Batch]:
        import pyarrow as pa

        path = self.path(unit)
        for objects in self.objects(path):
            columns, unfit = {}, {}
            for name in self.features:
                columns[name], unfit[name] = json_column(objects.values(self.column(name)), self.cells[name])
            batch = pa.RecordBatch.from_pydict(columns)
            yield Batch(batch, dict.fromkeys(columns, path), objects.numbers, "line", unfit, objects.lost)


def _shown(line: bytes) -> str:
    return repr(line[:40].decode(errors="replace"))
