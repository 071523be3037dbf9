"""What the workers tell of the shards that they wrote.

Everything is an exact whole number, so that the order in which the workers' shares are added up is no matter.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from functools import reduce

import numpy as np
from pydantic import Field

from settings import Settings

# Rows that are summed at a time. Float32 is fast, and exact below 2²⁴ > 256 · 255²; float64 takes the sums of blocks.
BLOCK = 256


class Moments(Settings):
    """Sums over the codes of an image feature: `sums` by position, the others over all positions."""

    count: int
    sums: list[int]
    sum_of_squares: int
    min: int
    max: int

    @classmethod
    def of(cls, codes: np.ndarray) -> "Moments":
        """Returns the moments of codes, uint8 [examples, size]."""
        sums, squares = np.zeros(codes.shape[1]), np.zeros(codes.shape[1])
        for start in range(0, len(codes), BLOCK):
            block = codes[start : start + BLOCK].astype(np.float32)
            sums += block.sum(axis=0)
            squares += np.square(block, out=block).sum(axis=0)
        return cls(
            count=len(codes),
            sums=sums.astype(np.int64).tolist(),
            sum_of_squares=int(squares.sum()),
            min=int(codes.min()),
            max=int(codes.max()),
        )

    def __add__(self, other: "Moments") -> "Moments":
        return Moments(
            count=self.count + other.count,
            sums=[left + right for left, right in zip(self.sums, other.sums, strict=True)],
            sum_of_squares=self.sum_of_squares + other.sum_of_squares,
            min=min(self.min, other.min),
            max=max(self.max, other.max),
        )


class WrittenShard(Settings):
    """A shard under its temporary name, with the number of examples of each class of each category."""

    split: str
    number: int
    name: str
    examples: int
    bytes: int
    sha256: str
    classes: dict[str, dict[int, int]]


class Summary(Settings):
    """Some of the work, or all of it: the shards, moments of the train split, and what was left out or went wrong."""

    shards: list[WrittenShard] = Field(default=[])
    moments: dict[str, Moments] = Field(default={})
    rejected: dict[str, int] = Field(default={})
    problems: list[str] = Field(default=[])

    def __add__(self, other: "Summary") -> "Summary":
        return Summary(
            shards=[*self.shards, *other.shards],
            moments=add(self.moments, other.moments),
            rejected=dict(Counter(self.rejected) + Counter(other.rejected)),
            problems=[*self.problems, *other.problems],
        )

    def classes(self, feature: str) -> dict[str, dict[int, int]]:
        """Returns the number of examples of each class of a category, by split."""
        counts: dict[str, Counter[int]] = {}
        for shard in self.shards:
            counts.setdefault(shard.split, Counter()).update(shard.classes[feature])
        return {split: dict(sorted(counter.items())) for split, counter in sorted(counts.items())}


def add(left: Mapping[str, Moments], right: Mapping[str, Moments]) -> dict[str, Moments]:
    """Adds moments up, feature by feature."""
    both = left.keys() & right.keys()
    return {**left, **right, **{name: left[name] + right[name] for name in both}}


def total(summaries: Iterable[bytes]) -> bytes:
    """Adds up summaries in JSON, the form in which they travel between workers."""
    whole = reduce(Summary.__add__, map(Summary.model_validate_json, summaries), Summary())
    return whole.model_dump_json().encode()
