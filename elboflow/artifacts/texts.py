"""Conversion of id sequences to texts with a feature's spec."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from elboflow.artifacts.spec import FeatureSpec

if TYPE_CHECKING:
    import numpy as np

UNKNOWN = "\N{REPLACEMENT CHARACTER}"
"""Replaces symbols that are not in the vocabulary."""


def texts(spec: FeatureSpec, ids: "np.ndarray", lengths: "np.ndarray") -> list[str]:
    """Returns sequences of ids as texts.

    Args:
        spec: The spec of the feature. Its `vocabulary` lists the symbol of each id; without it, ids are UTF-8 bytes.
        ids: Padded sequences, `[examples, longest]`.
        lengths: The length of each sequence, `[examples]`.
    """
    rows = [row[:length].tolist() for row, length in zip(ids, lengths, strict=True)]
    vocabulary: Sequence[str] | None = spec.facts.get("vocabulary")
    if vocabulary is None:
        return [bytes(row).decode(errors="replace") for row in rows]
    symbols = [*vocabulary, *[UNKNOWN] * ((spec.levels or 0) - len(vocabulary))]
    return ["".join(symbols[code] for code in row) for row in rows]


def escaped(text: str) -> str:
    """Returns a text whose unprintable characters, such as line breaks, are escaped."""
    return "".join(symbol if symbol.isprintable() else ascii(symbol)[1:-1] for symbol in text)
