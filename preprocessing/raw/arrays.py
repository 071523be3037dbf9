"""NumPy arrays in files, read as streams into Arrow columns, without a copy if Arrow has the dtype."""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Protocol

import numpy as np

from elboflow.settings import WorkError
from elboflow.settings.text import counted
from preprocessing.features import ColumnError, Unfit
from preprocessing.raw import BATCH_BYTES, Batch

if TYPE_CHECKING:
    import pyarrow as pa

_KINDS = {"O": "Python objects", "c": "complex numbers", "M": "dates", "m": "spans of time", "V": "records"}
_TEXT = "US"  # NumPy's kinds of text and of bytes


class Stream(Protocol):
    """A stream of bytes, read from start to end."""

    def read(self, count: int, /) -> bytes:
        """Returns the next `count` bytes, or fewer at the end of the stream."""


@dataclass(frozen=True)
class Column:
    """An open array in a file, positioned at the first row to read.

    Attributes:
        place: The array, for errors.
        stream: The stream of the array's values.
        dtype: The dtype of the values.
        row: The shape of one row.
    """

    place: str
    stream: Stream
    dtype: np.dtype
    row: tuple[int, ...]

    def take(self, count: int) -> np.ndarray:
        """Reads the next `count` rows, [count, *row].

        Raises:
            WorkError: The array is truncated.
        """
        expected = count * self.dtype.itemsize * prod(self.row)
        data = self.stream.read(expected)
        if len(data) != expected:
            raise WorkError(
                f"{self.place} is truncated: its header promises "
                f"{counted(expected - len(data), 'more byte')} than it holds"
            )
        return np.frombuffer(data, self.dtype).reshape(count, *self.row)


def batches(columns: Mapping[str, Column], first: int, count: int) -> Iterator[Batch]:
    """Yields batches of `count` rows in total from the open arrays of features. The first row has number `first`."""
    places = {feature: column.place for feature, column in columns.items()}
    row_bytes = sum(column.dtype.itemsize * prod(column.row) for column in columns.values())
    size = max(1, BATCH_BYTES // max(1, row_bytes))
    for start in range(0, count, size):
        arrays = {feature: column.take(min(size, count - start)) for feature, column in columns.items()}
        yield batch(arrays, places, first + start)


def batch(arrays: Mapping[str, np.ndarray], places: Mapping[str, str], first: int) -> Batch:
    """Returns arrays, [rows, …], as a batch.

    Args:
        arrays: The array of each feature.
        places: The name of each array, for errors.
        first: The number of the first row.

    Raises:
        WorkError: The dtype of an array is neither a number nor text.
    """
    import pyarrow as pa

    columns, unfit = {}, {}
    for feature, array in arrays.items():
        try:
            columns[feature], found = column_of(array)
        except ColumnError as error:
            raise WorkError(f"{places[feature]}: the feature {feature!r} {error}") from None
        if found:
            unfit[feature] = found
    count = len(next(iter(arrays.values())))
    rows = np.arange(first, first + count)
    return Batch(pa.RecordBatch.from_pydict(columns), places, rows, unfit=unfit)


def column_of(array: np.ndarray) -> "tuple[pa.Array, tuple[Unfit, ...]]":
    """Returns an array as an Arrow column, and the rows with damaged text.

    Raises:
        ColumnError: The dtype is neither a number nor text.
    """
    import pyarrow as pa

    if array.dtype.kind in _TEXT:
        return _texts(array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array)
    plain = _plain(array)
    if plain.ndim == 1:
        return pa.array(plain), ()
    if not plain.size:
        return pa.array([[] for _ in plain], pa.list_(pa.from_numpy_dtype(plain.dtype))), ()
    return pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(plain)), ()


def type_of(dtype: np.dtype) -> "pa.DataType":
    """Returns the Arrow type of an array's values.

    Raises:
        ColumnError: The dtype is neither a number nor text.
    """
    import pyarrow as pa

    return pa.string() if dtype.kind in _TEXT else pa.from_numpy_dtype(_plain(np.zeros(0, dtype)).dtype)


def _plain(array: np.ndarray) -> np.ndarray:
    """Returns numbers with a dtype and a byte order that Arrow supports."""
    kind = array.dtype.kind
    if kind not in "buif":
        raise ColumnError(f"is {_KINDS.get(kind, 'values')} ({array.dtype!s:.80}); numbers or text are expected")
    if kind == "b":
        return array.astype(np.uint8)
    if kind == "f" and array.dtype.itemsize > 8:
        with np.errstate(over="ignore"):
            return array.astype(np.float64)  # larger values become infinite, and are rejected later
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _texts(array: np.ndarray) -> "tuple[pa.Array, tuple[Unfit, ...]]":
    import pyarrow as pa

    if array.ndim != 1:
        raise ColumnError(f"is text of shape {list(array.shape[1:])}; one per example is expected")
    if array.dtype.kind == "U":
        damaged = _not_unicode(array)
        if damaged.any():
            array = np.where(damaged, "", array)
        reason = "text that is no Unicode; it is damaged"
        return pa.array(array.tolist(), pa.string()), _unfit(damaged, reason)
    texts: list[str | None] = []
    for value in array.tolist():
        try:
            texts.append(value.decode())
        except UnicodeDecodeError:
            texts.append(None)
    damaged = np.array([text is None for text in texts], bool)
    return pa.array([text or "" for text in texts], pa.string()), _unfit(damaged, "bytes that are no UTF-8")


def _unfit(damaged: np.ndarray, reason: str) -> tuple[Unfit, ...]:
    rows = np.flatnonzero(damaged)
    return (Unfit(reason, rows, [""] * len(rows)),) if len(rows) else ()


def _not_unicode(array: np.ndarray) -> np.ndarray:
    """Returns a mask of texts with invalid code points: surrogates, or above U+10FFFF, bool [rows]."""
    native = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("="), copy=False))
    points = native.view(np.uint32).reshape(len(native), -1) if native.dtype.itemsize else np.zeros((len(native), 0))
    damaged: np.ndarray = np.asarray((points > sys.maxunicode) | ((points >= 0xD800) & (points <= 0xDFFF)))
    return np.logical_or.reduce(damaged, axis=1)


def same_count(counts: Mapping[str, int]) -> int:
    """Returns the number of examples, which must be the same in all places.

    Args:
        counts: The number of examples by place.

    Raises:
        WorkError: The numbers differ.
    """
    if len(set(counts.values())) != 1:
        found = ", ".join(f"{place} holds {count:,}" for place, count in counts.items())
        raise WorkError(f"every feature must have the same number of examples: {found}")
    return next(iter(counts.values()))
