"""What the workers tell of the shards that they wrote.

Whole numbers are exact, and sums of other numbers stay apart, shard by shard, until they are added up without error
(`math.fsum`): the order in which the workers' shares come is no matter.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import reduce
from typing import TypeVar

import numpy as np
from pydantic import Field

from elboflow.settings import Settings
from preprocessing.extent import Extent

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


Addend = TypeVar("Addend", Moments, Extent, list[str])


class Numbers(Settings):
    """A number feature within a shard: its range, its sum, and its sum over each class of each category."""

    min: float
    max: float
    sum: float
    by_class: dict[str, dict[int, float]]

    @classmethod
    def of(cls, values: np.ndarray, categories: Mapping[str, np.ndarray]) -> "Numbers":
        """Returns the sums of a shard's values, float32 [examples]."""
        return cls(
            min=float(values.min()),
            max=float(values.max()),
            sum=math.fsum(values.tolist()),
            by_class={name: _sums(values, classes) for name, classes in categories.items()},
        )


def _sums(values: np.ndarray, classes: np.ndarray) -> dict[int, float]:
    order = np.argsort(classes, kind="stable")
    names, first = np.unique(classes[order], return_index=True)
    groups = np.split(values[order], first[1:])
    return {name: math.fsum(group.tolist()) for name, group in zip(names.tolist(), groups, strict=True)}


class WrittenShard(Settings):
    """A shard under its temporary name.

    Attributes:
        split: The split that it is a part of.
        number: Which part.
        name: The temporary name.
        examples: How many it holds.
        distinct: How many different keys they have. Examples with one key are in one shard.
        bytes: Its size.
        sha256: Its checksum.
        classes: For each category, examples by class.
        numbers: For each number, its sums.
    """

    split: str
    number: int
    name: str
    examples: int
    distinct: int
    bytes: int
    sha256: str
    classes: dict[str, dict[int, int]]
    numbers: dict[str, Numbers] = Field(default={})


class Summary(Settings):
    """Some of the work, or all of it.

    Attributes:
        shards: What was written.
        moments: For each image feature, its codes over the train split.
        seen: For each image feature, where its raw values lie in all examples that were read.
        trained: The same in the train split.
        rejected: Examples left out, by reason.
        problems: What went wrong.
        unfit: For each image feature, values that do not fit its range or its levels.
    """

    shards: list[WrittenShard] = Field(default=[])
    moments: dict[str, Moments] = Field(default={})
    seen: dict[str, Extent] = Field(default={})
    trained: dict[str, Extent] = Field(default={})
    rejected: dict[str, int] = Field(default={})
    problems: list[str] = Field(default=[])
    unfit: dict[str, list[str]] = Field(default={})

    def __add__(self, other: "Summary") -> "Summary":
        return Summary(
            shards=[*self.shards, *other.shards],
            moments=add(self.moments, other.moments),
            seen=add(self.seen, other.seen),
            trained=add(self.trained, other.trained),
            rejected=dict(Counter(self.rejected) + Counter(other.rejected)),
            problems=[*self.problems, *other.problems],
            unfit=add(self.unfit, other.unfit),
        )

    def classes(self, feature: str) -> dict[str, dict[int, int]]:
        """Returns the number of examples of each class of a category, by split."""
        counts: dict[str, Counter[int]] = {}
        for shard in self.shards:
            counts.setdefault(shard.split, Counter()).update(shard.classes[feature])
        return {split: dict(sorted(counter.items())) for split, counter in sorted(counts.items())}

    def of(self, split: str) -> list[WrittenShard]:
        """Returns the shards of a split."""
        return [shard for shard in self.shards if shard.split == split]


def add(left: Mapping[str, Addend], right: Mapping[str, Addend]) -> dict[str, Addend]:
    """Adds values up, feature by feature."""
    both = left.keys() & right.keys()
    return {**left, **right, **{name: left[name] + right[name] for name in both}}


def total(summaries: Iterable[bytes]) -> bytes:
    """Adds up summaries in JSON, the form in which they travel between workers."""
    whole = reduce(Summary.__add__, map(Summary.model_validate_json, summaries), Summary())
    return whole.model_dump_json().encode()
