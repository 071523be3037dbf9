"""A batch of raw values → its examples, converted for records, and the rejected rows with their reasons."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from elboflow.settings import WorkError
from preprocessing import splits
from preprocessing.extent import Extent
from preprocessing.features import MISSING, ColumnError, Feature, Fitted, Unfit, Values
from preprocessing.raw import Batch
from preprocessing.records import Column
from preprocessing.report import Reason


@dataclass(frozen=True)
class Rejected:
    """An example that is left out.

    Attributes:
        place: The array or file that contains the example.
        row: The row number in that place.
        noun: What the number counts, such as "row" or "line".
        feature: The feature whose value does not fit; None if the row itself cannot be read.
        reason: The rule that the value breaks.
        found: The value; "" if there is none.
    """

    place: str
    row: int
    noun: str
    feature: str | None
    reason: str
    found: str

    def __str__(self) -> str:
        where = f"{self.place}: {self.noun} {self.row:,}"
        if self.feature is None:
            return f"{where}: {self.reason}{f', not {self.found}' if self.found else ''}"
        has = f"has the value {self.found} in its" if self.found else "does not fit in its"
        return f"{where} {has} feature {self.feature!r}; {self.reason}"

    def to_json(self, place: str) -> str:
        """Returns the line for `rejected.jsonl`.

        Args:
            place: The place without folders that are specific to this machine.
        """
        values = {"place": place, "row": self.row, "feature": self.feature}
        return json.dumps({**values, "reason": self.reason, "found": self.found}, ensure_ascii=False)


@dataclass(frozen=True)
class Examples:
    """The examples of a batch.

    Attributes:
        count: All rows of the batch, rejected rows included.
        values: By feature, the raw values of the accepted rows.
        stored: By fitted feature, the converted values of the accepted rows, as records hold them.
        rejected: The rejected rows, in their order.
        seen: By feature with an extent, the extent of all rows.
    """

    count: int
    values: Mapping[str, Values]
    stored: Mapping[str, Column]
    rejected: tuple[Rejected, ...]
    seen: Mapping[str, Extent]


def examples_of(batch: Batch, features: Mapping[str, Feature], fitted: Mapping[str, Fitted]) -> Examples:
    """Reads the rows of a batch, and converts the values of the fitted features.

    Args:
        batch: The rows.
        features: The features to read.
        fitted: The features to convert, a subset of `features`.

    Raises:
        WorkError: The type of a column does not fit its feature.
    """
    values: dict[str, Values] = {}
    stored: dict[str, Column] = {}
    unfit: list[tuple[str, Unfit]] = []
    for name, feature in sorted(features.items()):
        try:
            values[name] = feature.read(batch.columns.column(name), name)
            converted = fitted[name].convert(values[name]) if name in fitted else None
        except ColumnError as error:
            raise WorkError(f"{batch.places[name]}: the feature {name!r} {error}") from None
        unfit += [(name, each) for each in (*batch.unfit.get(name, ()), *values[name].unfit)]
        if converted is not None:
            stored[name] = converted.stored
            unfit += [(name, each) for each in converted.unfit]
    seen = extents(features, values)
    rejected = _rejected(batch, unfit) if unfit or batch.lost else ()
    if unfit:
        mask = np.ones(len(batch), bool)
        for _, each in unfit:
            mask[each.rows] = False
        fit = np.flatnonzero(mask)
        values = {name: found.take(fit) for name, found in values.items()}
        stored = {name: taken(column, fit) for name, column in stored.items()}
    return Examples(len(batch) + len(batch.lost), values, stored, rejected, seen)


def keys_of(features: Mapping[str, Feature], values: Mapping[str, Values], identifying: list[str]) -> np.ndarray:
    """Returns the key of each example, int64 [examples]."""
    return splits.keys([features[name].identity(values[name]) for name in identifying])


def extents(
    features: Mapping[str, Feature], values: Mapping[str, Values], chosen: np.ndarray | slice = slice(None)
) -> dict[str, Extent]:
    """Returns the extent of the finite raw values in the chosen rows, for each feature that has an extent."""
    found = {}
    for name, feature in features.items():
        if (ends := feature.extent(values[name])) is None:
            continue
        low, high = ends[0][chosen], ends[1][chosen]
        finite = np.isfinite(low) & np.isfinite(high)
        if finite.any():
            found[name] = Extent(low=float(low[finite].min()), high=float(high[finite].max()), whole=ends[2])
    return found


def reasons_of(rejected: tuple[Rejected, ...], unit: int) -> list[Reason]:
    """Returns the reasons for which examples of a unit were rejected, each with its count and its first example."""
    counts = Counter((each.feature, each.reason) for each in rejected)
    first = {(each.feature, each.reason): each for each in reversed(rejected)}
    return [
        Reason(feature=key[0], reason=key[1], count=count, at=(unit, first[key].row), example=str(first[key]))
        for key, count in counts.items()
    ]


def taken(column: Column, rows: np.ndarray) -> Column:
    """Returns rows of a column by their indices, in the order of the indices."""
    return column.take(rows, axis=0) if isinstance(column, np.ndarray) else column.take(rows)


def _rejected(batch: Batch, unfit: list[tuple[str, Unfit]]) -> tuple[Rejected, ...]:
    """Returns the rejected rows in their order, each once, with the reason of the first unfit feature by name."""
    found = [
        (lost.row, Rejected(batch.place, lost.row, batch.noun, None, lost.reason, lost.found)) for lost in batch.lost
    ]
    told: set[int] = set()
    for name, row, reason, value in _unfit_rows(unfit):
        if row not in told:
            told.add(row)
            number = int(batch.rows[row])
            found.append((number, Rejected(batch.places[name], number, batch.noun, name, reason, value)))
    return tuple(rejected for _, rejected in sorted(found, key=lambda each: each[0]))


def _unfit_rows(unfit: list[tuple[str, Unfit]]) -> Iterator[tuple[str, int, str, str]]:
    # A value that the source cannot parse is also a null. The reason from the source says more, so MISSING comes last.
    for name, each in sorted(unfit, key=lambda pair: pair[1].reason == MISSING):
        for row, value in zip(each.rows.tolist(), each.found or [""] * len(each.rows), strict=True):
            yield name, row, each.reason, value
