"""Parsing of untyped values, CSV cells and JSON values, to the type that a feature accepts."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from preprocessing.features import Feature, Unfit

if TYPE_CHECKING:
    import pyarrow as pa

Cells = Literal["numbers", "integers", "text", "arrays"]
"""The type as which the cells of a column are parsed."""

NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
INTEGER = r"^[+-]?\d{1,18}$"
"""How numbers, and whole ones, are written in a cell."""

_EXPECTED = {"numbers": "a number is expected", "integers": "a whole number is expected, as in most of the first rows"}
_NEARLY_ALL = 0.9
_SHOWN = 40  # characters of a value in a reason


def cells_of(feature: Feature, first: "pa.Array") -> Cells:
    """Returns the type as which the cells of a feature are parsed.

    Args:
        feature: The feature. If it accepts any type, the first cells decide.
        first: The first cells, as text. The type is "integers" if nearly all of them are integers, otherwise "text".
    """
    if feature.accepts != "any":
        return feature.accepts
    import pyarrow.compute as pc

    from preprocessing import columns

    texts, _ = columns.texts(first)
    texts = texts.filter(pc.not_equal(texts, ""))
    whole = pc.sum(pc.match_substring_regex(texts, INTEGER)).as_py() or 0
    return "integers" if whole > _NEARLY_ALL * len(texts) else "text"


def parsed(column: "pa.Array", cells: Cells) -> "tuple[pa.Array, tuple[Unfit, ...]]":
    """Parses a column of text cells. An empty cell is a missing value.

    Returns:
        The column as float64, int64 or string, with nulls for unfit cells, and the unfit rows.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    from preprocessing import columns

    texts, unfit = columns.texts(column)
    if cells != "text":
        texts = pc.utf8_trim_whitespace(texts)
    empty = pc.equal(texts, "")
    texts = pc.if_else(empty, pa.scalar(None, pa.string()), texts)
    if cells == "text":
        return texts, unfit
    fits = pc.fill_null(pc.match_substring_regex(texts, NUMBER if cells == "numbers" else INTEGER), True)
    wrong = np.flatnonzero(~fits.to_numpy(zero_copy_only=False))
    if len(wrong):
        found = [repr(text)[:_SHOWN] for text in texts.take(pa.array(wrong)).to_pylist()]
        unfit = (*unfit, Unfit(_EXPECTED[cells], wrong, found))
        texts = pc.if_else(fits, texts, pa.scalar(None, pa.string()))
    return texts.cast(pa.float64() if cells == "numbers" else pa.int64()), unfit


def json_cells_of(feature: Feature, first: Sequence[Any]) -> Cells:
    """Returns the type as which a feature's JSON values are read, as `cells_of` does for text cells."""
    if feature.accepts != "any":
        return feature.accepts
    return "integers" if sum(map(_is_integer, first)) > _NEARLY_ALL * len(first) else "text"


def json_column(values: Sequence[Any], cells: Cells) -> "tuple[pa.Array, tuple[Unfit, ...]]":
    """Returns JSON values as a column, and the unfit rows: those with values of another type."""
    import pyarrow as pa

    fits = _FITS[cells]
    wrong = [row for row, value in enumerate(values) if value is not None and not fits(value)]
    kept = list(values)
    for row in wrong:
        kept[row] = None
    unfit = (Unfit(_JSON[cells], np.array(wrong), [repr(values[row])[:_SHOWN] for row in wrong]),) if wrong else ()
    if cells == "arrays":
        return _arrays(kept), unfit
    types = {"numbers": pa.float64(), "integers": pa.int64(), "text": pa.string()}
    return pa.array(kept, types[cells]), unfit


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and -(2**63) <= value < 2**63


def _is_array(value: Any) -> bool:
    return _is_number(value) or (isinstance(value, list) and all(map(_is_array, value)))


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and not any("\ud800" <= sign <= "\udfff" for sign in value)


_FITS = {"numbers": _is_number, "integers": _is_integer, "text": _is_text, "arrays": _is_array}
_JSON = {**_EXPECTED, "text": "text is expected", "arrays": "numbers, in lists, are expected"}


def _arrays(values: Sequence[Any]) -> "pa.Array":
    """Returns a column of flat lists, one for each nested list."""
    import pyarrow as pa

    return pa.array([None if value is None else list(_flat(value)) for value in values], pa.list_(pa.float64()))


def _flat(value: Any) -> "list[float]":
    return [number for part in value for number in _flat(part)] if isinstance(value, list) else [float(value)]
