"""Statistics of texts: the count of each symbol, from which a vocabulary is fitted, and the lengths of sequences."""

from collections import Counter
from typing import Any

import numpy as np

from preprocessing.features._columns import Summary
from preprocessing.records.schema import Ragged


class Symbols(Summary):
    """The count of each symbol by code point or byte, and the number of texts and of their UTF-8 bytes."""

    texts: int
    bytes: int
    counts: dict[int, int]

    def merged(self, other: "Symbols") -> "Symbols":
        return Symbols(
            texts=self.texts + other.texts,
            bytes=self.bytes + other.bytes,
            counts=dict(Counter(self.counts) + Counter(other.counts)),
        )


class Sequences(Summary):
    """Statistics of stored sequences.

    Attributes:
        count: The number of sequences.
        symbols: The number of symbols in all sequences.
        shortest: The smallest length.
        longest: The largest length.
        lengths: Sequences by the number of bits of their length: 0, 1, 2-3, 4-7, 8-15 symbols, and so on.
        counts: The count of each id.
    """

    count: int
    symbols: int
    shortest: int
    longest: int
    lengths: dict[int, int]
    counts: dict[int, int]

    def merged(self, other: "Sequences") -> "Sequences":
        return Sequences(
            count=self.count + other.count,
            symbols=self.symbols + other.symbols,
            shortest=min(self.shortest, other.shortest),
            longest=max(self.longest, other.longest),
            lengths=dict(Counter(self.lengths) + Counter(other.lengths)),
            counts=dict(Counter(self.counts) + Counter(other.counts)),
        )

    @classmethod
    def of(cls, stored: Ragged) -> "Sequences":
        """Returns the statistics of stored ids."""
        lengths, counts = stored.lengths, np.bincount(stored.values, minlength=1)
        found = np.flatnonzero(counts)
        bits, sequences = np.unique(np.frexp(lengths)[1], return_counts=True)
        return cls(
            count=len(stored),
            symbols=len(stored.values),
            shortest=int(lengths.min()),
            longest=int(lengths.max()),
            lengths=dict(zip(bits.tolist(), sequences.tolist(), strict=True)),
            counts=dict(zip(found.tolist(), counts[found].tolist(), strict=True)),
        )

    def kept(self) -> dict[str, Any]:
        """Returns the summary for `dataset.json`, as JSON values."""
        return {
            "count": self.count,
            "symbols": self.symbols,
            "shortest": self.shortest,
            "longest": self.longest,
            "lengths": [[1 << bits >> 1, count] for bits, count in sorted(self.lengths.items())],
            "counts": {str(symbol): count for symbol, count in sorted(self.counts.items())},
        }
