"""The stored values of nights: the deciding metric of each example, by version, and how several nights are pooled."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from elboflow.settings import WorkError
from elboflow.vae.evaluation.bootstrap import count_distinct

KEY = "key"
"""The column of the examples' identities."""
Table = Mapping[str, np.ndarray]
"""Values of the deciding metric: the examples' identities `key`, int64 `[examples]`, and a column per version."""
Stored = Callable[[int], Table]
"""Returns the stored values of an event, by its number. Raises WorkError if they are missing or damaged."""

_SLICE, _NAMES = "slice:", "names:"
# Each look halves what is left for the hypothesis, so that one for a few more examples would be a waste.
_LEAST_GROWTH = 1.2


def column(version: int) -> str:
    """Returns the name of the column of a version."""
    return f"v{version}"


def slice_column(feature: str) -> str:
    """Returns the name of the column that holds the guarded classes of a category."""
    return f"{_SLICE}{feature}"


def names_column(feature: str) -> str:
    """Returns the name of the column that holds the names of a category's classes, in the order of their numbers."""
    return f"{_NAMES}{feature}"


def usable(events: Sequence[int], stored: Stored) -> tuple[dict[int, Table], dict[int, str]]:
    """Returns the stored values of events, by number; and of those that cannot be used, why not."""
    tables, unusable = {}, {}
    for number in events:
        try:
            tables[number] = stored(number)
        except WorkError as error:
            unusable[number] = str(error)
    return tables, unusable


def pooled(tables: Sequence[Table], *names: str) -> list[np.ndarray]:
    """Returns keys and columns on all nights; an example counts once, in the first night that had it."""
    if len(tables) == 1:
        return [tables[0][KEY], *(_column(tables[0], name) for name in names)]
    keys, parts = np.array([], np.int64), []
    for table in tables:
        new = ~np.isin(table[KEY], keys)
        parts.append([table[KEY][new], *(_column(table, name)[new] for name in names)])
        keys = np.concatenate([keys, table[KEY][new]])
    return [np.concatenate(found) for found in zip(*parts, strict=True)]


def joined(tables: Sequence[Table], feature: str) -> tuple[list[Table], list[str] | None]:
    """Returns tables with one coding of the classes of a category, and the classes' names; None if they are numbers.

    The coding is that of the last table, continued. Two datasets may have a class of one name under two numbers. A
    table whose classes cannot be told by those of the last one (one has names, the other numbers) loses them.
    """
    named = names_column(feature)
    if named not in tables[-1]:
        return [table if named not in table else _without_classes(table, feature) for table in tables], None
    numbers: dict[str, int] = {}
    found: list[Table] = []
    for table in reversed(tables):
        if named in table:
            place = np.array([numbers.setdefault(str(name), len(numbers)) for name in table[named]], np.int64)
            classes = table[slice_column(feature)]
            found.append({**table, slice_column(feature): np.where(classes < 0, -1, place[classes])})
        else:
            found.append(_without_classes(table, feature))
    return found[::-1], list(numbers)


def have_grown(tables: Sequence[Table], keys: np.ndarray) -> bool:
    """Returns whether new examples are enough for another look at what was compared on those of the tables."""
    seen = np.concatenate([table[KEY] for table in tables])
    return count_distinct(np.concatenate([seen, keys])) >= _LEAST_GROWTH * count_distinct(seen)


def _without_classes(table: Table, feature: str) -> Table:
    return {name: values for name, values in table.items() if name != slice_column(feature)}


def _column(table: Table, name: str) -> np.ndarray:
    if name.startswith(_SLICE) and name not in table:  # a night before there was this guard
        return np.full(len(table[KEY]), -1)
    return table[name]
