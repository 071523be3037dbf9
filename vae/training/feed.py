"""From a split to what the devices hold, and the rows of it that make each batch."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from vae.data import Examples, Source
from vae.training import order


@dataclass(frozen=True)
class Portion:
    """Steps that need nothing but these examples.

    Attributes:
        examples: What the device is to hold; the same object as before where nothing changes.
        rows: The examples of each step, int32 `[steps, batch]`; of this machine's part of the batch.
    """

    examples: Examples
    rows: np.ndarray


class Feed:
    """The batches of each epoch.

    Args:
        source: The split.
        batch_size: Examples of a step, over all machines.
        seed: Fixes the order, with the epoch.
        memory_megabytes: What a device may hold of the examples.
        index: The number of this machine, from 0.
        processes: How many machines train together.
    """

    def __init__(
        self, source: Source, batch_size: int, seed: int, memory_megabytes: int, index: int = 0, processes: int = 1
    ) -> None:
        self._source, self._batch_size, self._seed = source, batch_size, seed
        self.examples = sum(source.counts)
        self.steps = self.examples // batch_size
        each = order.lanes(batch_size) // processes
        self._lanes = range(index * each, (index + 1) * each)
        self._held: Examples | None = None

    @property
    def batch(self) -> int:
        """Examples of a step, of this machine's part."""
        return len(self._lanes) * (self._batch_size // order.lanes(self._batch_size))

    @property
    def capacity(self) -> int:
        """The most examples that a portion has."""
        bounds = order.bounds(self.examples, self._batch_size)
        return int(bounds[self._lanes.stop] - bounds[self._lanes.start])

    def epoch(self, number: int, skip: int = 0) -> Iterator[Portion]:
        """Yields the portions of an epoch, from its step `skip` on."""
        bounds = order.bounds(self.examples, self._batch_size)
        first, last = int(bounds[self._lanes.start]), int(bounds[self._lanes.stop])
        if self._held is None:
            ends = np.cumsum(self._source.counts)
            needed = [i for i, end in enumerate(ends) if end > first and end - self._source.counts[i] < last]
            offset = int(ends[needed[0]] - self._source.counts[needed[0]])
            read = Examples.joined([self._source.read(shard) for shard in needed])
            self._held = read[first - offset : last - offset]
        rows = order.rows(self._seed, number, self.examples, self._batch_size, self._lanes)
        yield Portion(self._held, rows[skip:] - first)
