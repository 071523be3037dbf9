"""Conversion of raw Arrow columns: numbers to NumPy arrays, text to Arrow strings, nulls to unfit rows."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from preprocessing.features import MISSING, ColumnError, Unfit
from preprocessing.records.schema import places

_TYPE_NAMES = (
    (pa.types.is_dictionary, "dictionary-encoded values"),
    (pa.types.is_temporal, "dates or times"),
    (pa.types.is_struct, "records"),
    (pa.types.is_null, "nothing but missing values"),
    (pa.types.is_list, "lists"),
    (pa.types.is_large_list, "lists"),
)


@dataclass(frozen=True)
class Numbers:
    """The numbers of a column.

    Attributes:
        values: [rows, …]; arbitrary in unfit rows.
        unfit: Rows without a value, or with a wrong number of values.
    """

    values: np.ndarray
    unfit: tuple[Unfit, ...]


def is_text(type: pa.DataType) -> bool:
    """Whether values of this type are text, or bytes that may be text."""
    return any(
        test(type)
        for test in (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    )


def is_number(type: pa.DataType) -> bool:
    """Whether values of this type are numbers or booleans."""
    tests = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_decimal)
    return any(test(type) for test in tests)


def described(type: pa.DataType) -> str:
    """Returns a type as messages name it: `text (string)`."""
    if is_text(type):
        return f"text ({type})"
    word = next((word for test, word in _TYPE_NAMES if test(type)), None)
    return f"{word} ({type!s:.60})" if word else f"{type!s:.80}"


def plain(column: pa.Array) -> pa.Array:
    """Returns a column without chunks and dictionaries."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def numbers(column: pa.Array, shape: tuple[int, ...] | None = None) -> Numbers | None:
    """Returns the numbers of a column, or None if its type is not numeric.

    Args:
        column: Single numbers, or lists or tensors of numbers.
        shape: The shape of a row, needed for a column of lists. Rows of another size are unfit.
    """
    missing = _missing(column)
    if isinstance(column.type, pa.FixedShapeTensorType):
        if missing:
            storage = column.storage
            filled = pa.FixedSizeListArray.from_arrays(storage.values, storage.type.list_size)
            column = pa.ExtensionArray.from_storage(column.type, filled)
        return Numbers(_comparable(column.to_numpy_ndarray()), missing)
    if is_number(column.type):
        return Numbers(_numpy(column), missing)
    if _is_list(column.type) and shape is not None:
        return _lists(column, shape, missing)
    return None


def texts(column: pa.Array) -> tuple[pa.Array, tuple[Unfit, ...]]:
    """Returns text as Arrow strings without nulls, and the unfit rows: nulls, and bytes that are not UTF-8."""
    unfit = _missing(column)
    if column.null_count:
        column = column.fill_null("" if pa.types.is_string(column.type) or _is_large(column.type) else b"")
    try:
        return column.cast(pa.string()), unfit
    except pa.ArrowInvalid:
        found: list[str | None] = [_decoded(value) for value in column.to_pylist()]
    rows = np.array([row for row, text in enumerate(found) if text is None], np.int64)
    strings = pa.array(["" if text is None else text for text in found], pa.string())
    return strings, (*unfit, Unfit("bytes that are no UTF-8", rows, [""] * len(rows)))


def unfit(mask: np.ndarray, values: np.ndarray, reason: str) -> tuple[Unfit, ...]:
    """Returns the rows in which a mask is set anywhere, with the first masked value of each row.

    Args:
        mask: Where values are unfit, bool [rows, …].
        values: [rows, …].
        reason: The rule that the values break, for the message.
    """
    if not mask.any():
        return ()
    flat = mask.reshape(len(mask), -1)
    rows = np.flatnonzero(flat.any(axis=1))
    at = flat[rows].argmax(axis=1)
    return (Unfit(reason, rows, [str(value) for value in values.reshape(len(values), -1)[rows, at]]),)


def unfit_rows(found: Sequence[Unfit], count: int) -> np.ndarray:
    """Returns a mask of the rows that are unfit for any reason, bool [count]."""
    mask = np.zeros(count, bool)
    for each in found:
        mask[each.rows] = True
    return mask


def require(found: Numbers | None, column: pa.Array, expected: str) -> Numbers:
    """Returns `found`, the result of `numbers`.

    Raises:
        ColumnError: `found` is None, because the column is not numeric.
    """
    if found is None:
        raise ColumnError(f"is {described(column.type)}; {expected}")
    return found


def one_per_row(column: pa.Array, expected: str) -> Numbers:
    """Returns a column of one number per row, `[rows]`; lists of one number count as the number.

    Raises:
        ColumnError: The column is not numeric, or a row has several numbers; the message ends with `expected`.
    """
    found = require(numbers(column), column, expected)
    values = found.values
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        raise ColumnError(f"is {values.dtype} of shape {list(values.shape[1:])}; {expected}")
    return Numbers(values, found.unfit)


def _missing(column: pa.Array) -> tuple[Unfit, ...]:
    if not column.null_count:
        return ()
    rows = np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))
    return (Unfit(MISSING, rows, [""] * len(rows)),)


def _numpy(column: pa.Array) -> np.ndarray:
    if pa.types.is_decimal(column.type):
        column = column.cast(pa.float64())
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.uint8())
    if column.null_count:
        column = column.fill_null(pa.scalar(0).cast(column.type))
    return _comparable(column.to_numpy(zero_copy_only=False))


def _comparable(values: np.ndarray) -> np.ndarray:
    """Returns float16 values as float32, because NumPy cannot compare float16 with large numbers."""
    return values.astype(np.float32) if values.dtype == np.float16 else values


def _lists(column: pa.Array, shape: tuple[int, ...], missing: tuple[Unfit, ...]) -> Numbers | None:
    """Returns the numbers of nested lists, flattened, [rows, size]."""
    size = int(np.prod(shape))
    inner, offsets = column, np.arange(len(column) + 1)
    while _is_list(inner.type):
        counts = np.nan_to_num(inner.value_lengths().to_numpy(zero_copy_only=False), nan=0).astype(np.int64)
        starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
        offsets = starts[offsets]
        inner = inner.flatten()
    if not is_number(inner.type):
        return None
    lengths = np.diff(offsets)
    values = _numpy(inner)
    empty = unfit_rows(missing, len(column))
    wrong = np.flatnonzero((lengths != size) & ~empty)
    result = np.zeros((len(column), size), values.dtype)
    right = lengths == size

    result[right] = values[places(offsets[:-1][right], lengths[right])].reshape(-1, size)
    if inner.null_count:
        holes = np.add.reduceat(np.append(inner.is_null().to_numpy(zero_copy_only=False), False), offsets[:-1]) > 0
        holed = np.flatnonzero(holes & right)
        missing = (*missing, Unfit(MISSING, holed, [""] * len(holed)))
    if not len(wrong):
        return Numbers(result, missing)
    reason = f"{size:,} numbers are expected, for the shape {list(shape)}"
    return Numbers(result, (*missing, Unfit(reason, wrong, [f"{lengths[row]:,} numbers" for row in wrong])))


def _is_list(type: pa.DataType) -> bool:
    return pa.types.is_list(type) or pa.types.is_large_list(type) or pa.types.is_fixed_size_list(type)


def _is_large(type: pa.DataType) -> bool:
    return pa.types.is_large_string(type)


def _decoded(value: str | bytes) -> str | None:
    if isinstance(value, str):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None
