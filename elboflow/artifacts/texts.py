"""Sequences of symbols as texts, by what an artifact says of them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from elboflow.artifacts.spec import FeatureSpec

if TYPE_CHECKING:
    import numpy as np

UNKNOWN = "\N{REPLACEMENT CHARACTER}"
"""Stands for a symbol that is not in the vocabulary."""


def texts(spec: FeatureSpec, ids: "np.ndarray", lengths: "np.ndarray") -> list[str]:
    """Returns sequences of ids as texts.

    Args:
        spec: Of the feature; its `vocabulary` has the symbol of each code; without one, ids are bytes of UTF-8.
        ids: `[examples, longest]`.
        lengths: `[examples]`.
    """
    rows = [row[:length].tolist() for row, length in zip(ids, lengths, strict=True)]
    vocabulary: Sequence[str] | None = spec.facts.get("vocabulary")
    if vocabulary is None:
        return [bytes(row).decode(errors="replace") for row in rows]
    symbols = [*vocabulary, *[UNKNOWN] * ((spec.levels or 0) - len(vocabulary))]
    return ["".join(symbols[code] for code in row) for row in rows]


def on_a_line(text: str) -> str:
    """Returns a text with all escaped that is not printed: line breaks, for instance."""
    return "".join(symbol if symbol.isprintable() else ascii(symbol)[1:-1] for symbol in text)
