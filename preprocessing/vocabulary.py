"""Classes that a source names by text: each name becomes a number, in the order of the sorted names.

The numbers are a function of the data, whose fingerprint is part of a dataset's address; so the names are not. They are
found before the workers start, by one pass over the labels alone.
"""

import sys

import numpy as np

from elboflow.settings import WorkError
from elboflow.settings.text import counted
from preprocessing.config import DataConfig
from preprocessing.sources import Batch, open_source

Names = dict[str, tuple[str, ...]]

MOST_NAMES = 100_000  # beyond, a label is a caption or an identity; and the manifest holds them all
_TEXT = "US"  # NumPy's kinds of text and of bytes


def find(config: DataConfig) -> Names:
    """Returns the names of the classes of each category whose values are text, in the order of their numbers.

    Raises:
        WorkError: The source is damaged, or a category has values that are text only in part, or too many of them.
    """
    found = {}
    for name, category in config.categories.items():
        names = _names(config, name)
        if names and category.classes and len(names) > category.classes:
            raise WorkError(
                f"the feature {name!r} names {counted(len(names), 'class', 'classes')}; data.features.{name}.classes "
                f"allows {category.classes:,}"
            )
        if names:
            found[name] = names
    return found


def is_text(array: np.ndarray) -> bool:
    """Whether the values of an array are text, or bytes that may be text."""
    return array.dtype.kind in _TEXT


def texts(batch: Batch, name: str, array: np.ndarray) -> np.ndarray:
    """Returns text as str, [examples].

    Args:
        batch: Where the values come from, for errors.
        name: The feature.
        array: Text or bytes, [examples].

    Raises:
        WorkError: Bytes are not UTF-8, or text has code points that are no characters.
    """
    if array.dtype.kind == "U":
        if not _is_unicode(array):
            raise WorkError(f"{batch.places[name]}: the feature {name!r} holds text that is no Unicode; it is damaged")
        return array
    try:
        return np.char.decode(array, "utf-8")
    except UnicodeDecodeError as error:
        raise WorkError(f"{batch.places[name]}: the feature {name!r} holds bytes that are no UTF-8: {error}") from None


def numbers(names: tuple[str, ...], labels: np.ndarray) -> np.ndarray:
    """Returns the number of each label, int64 [examples]; -1 where it is none of the names."""
    ordered = np.array(names)
    places = np.minimum(np.searchsorted(ordered, labels), len(names) - 1)
    return np.where(ordered[places] == labels, places, -1).astype(np.int64)


def _is_unicode(array: np.ndarray) -> bool:
    """Whether all code points are characters: none is half of a surrogate pair, or beyond the last one."""
    native = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("="), copy=False))
    points = native.view(np.uint32) if native.dtype.itemsize else np.zeros(0, np.uint32)
    return not ((points > sys.maxunicode) | ((points >= 0xD800) & (points <= 0xDFFF))).any()


def _names(config: DataConfig, name: str) -> tuple[str, ...]:
    raw = open_source(config.model_copy(update={"features": {name: config.features[name]}}))
    found: set[str] = set()
    for unit in raw.units():
        for batch in raw.read(unit):
            array = batch.arrays[name]
            if not is_text(array):
                break  # numbers, which name no classes
            found.update(np.unique(texts(batch, name, array)).tolist())
            if len(found) > MOST_NAMES:
                raise WorkError(
                    f"{batch.places[name]}: the feature {name!r} holds more than {MOST_NAMES:,} different texts; "
                    "a category names classes, not single examples"
                )
    return tuple(sorted(found))
