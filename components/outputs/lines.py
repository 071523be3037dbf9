"""A .txt file: a text on each line; an original is above its reconstruction."""

from collections.abc import Mapping

import numpy as np

from elboflow.artifacts.spec import FeatureSpec
from elboflow.artifacts.texts import escaped

SUFFIX = ".txt"


def fits(specs: Mapping[str, FeatureSpec]) -> bool:
    """Whether these features are a single text."""
    return [spec.kind for spec in specs.values()] == ["tokens"]


def content(specs: Mapping[str, FeatureSpec], sets: Mapping[str, Mapping[str, np.ndarray]]) -> bytes:
    """Returns lines in UTF-8; unprintable characters are escaped."""
    (name,) = specs
    rows = zip(*(columns[name] for columns in sets.values()), strict=True)
    return "".join(f"{escaped(text)}\n" for row in rows for text in row).encode()
