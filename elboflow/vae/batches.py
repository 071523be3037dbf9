"""Batches of a fixed size from a split, read shard by shard, so that the split need not fit into memory."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from elboflow.settings import WorkError
from elboflow.vae import spec as specs_
from elboflow.vae.data import Examples, Source
from elboflow.vae.terms import Specs


@dataclass(frozen=True)
class PaddedBatch:
    """A batch of a fixed size, padded with repeated examples.

    Attributes:
        examples: The examples; in the last batch of a split, repeated examples pad the batch.
        count: The number of examples without padding.
    """

    examples: Examples
    count: int


def batches(source: Source, specs: Specs, size: int, split: str) -> Iterator[PaddedBatch]:
    """Yields the examples of a split in their order, in batches of a fixed size, with only the features of a model.

    A thread prefetches the next shard.

    Args:
        source: The split.
        specs: The specs of the features that the model reads.
        size: The number of examples of a batch.
        split: The name of the split, for messages.

    Raises:
        WorkError: The split is empty, a shard is missing or damaged, or a feature does not fit the model.
    """
    if not sum(source.counts):
        raise WorkError(f"the {split} split is empty; data.splits must leave it at least one example")
    shards = [shard for shard, count in enumerate(source.counts) if count]
    left: Examples | None = None
    with ThreadPoolExecutor(1, thread_name_prefix="elboflow-batches") as thread:
        coming = thread.submit(source.read, shards[0])
        for number, _ in enumerate(shards, 1):
            read = coming.result()
            if number < len(shards):
                coming = thread.submit(source.read, shards[number])
            read.check(specs, split)
            read = read.padded(specs)
            if left is not None:
                read = Examples.joined([left, read])
            whole = len(read) // size * size
            for first in range(0, whole, size):
                yield PaddedBatch(read[first : first + size], size)
            left = read[whole:] if whole < len(read) else None
    if left is not None:
        yield PaddedBatch(left[np.resize(np.arange(len(left)), size)], len(left))


def bytes_of(source: Source, specs: Specs) -> int:
    """Returns the bytes of a model's features in a split."""
    return sum(source.counts) * sum(spec.bytes for spec in specs.values())


def first(source: Source, specs: Specs, wanted: int, split: str) -> Examples:
    """Returns up to `wanted` examples, evenly spaced over the first shards that hold as many.

    The choice is the same on every machine.

    Raises:
        WorkError: A shard is missing or damaged, or a feature does not fit the model.
    """
    read: list[Examples] = []
    for shard in range(len(source.counts)):
        read.append(source.read(shard).only(specs_.names(specs)))
        if sum(map(len, read)) >= wanted:
            break
    examples = Examples.joined(read)
    examples.check(specs, split)
    return examples[np.linspace(0, len(examples) - 1, min(wanted, len(examples))).astype(int)]
