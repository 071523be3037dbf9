"""From a split to what the devices hold, and the rows of it that make each batch.

A split that fits into memory is held there as a whole. A larger one is streamed: while the device computes on a chunk,
a thread reads, verifies, decodes and hands over the next one, in the following epoch, too. The chunk in use, the next
one, the one being read, and what a shard holds beyond it share the memory, a quarter each.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np

from elboflow.settings.text import counted
from elboflow.vae.compute.contract import Job
from elboflow.vae.compute.parallelism import lanes
from elboflow.vae.data import Examples
from elboflow.vae.training import chunks, order
from elboflow.vae.training.chunks import Piece

logger = logging.getLogger("elboflow.training")

_WEIGHT = 4  # bytes
_PARTS = 4  # of the memory: in use, next, being read, and what a shard has beyond a chunk

ToDevice = Callable[[Examples, int], Any]


@dataclass(frozen=True)
class Portion:
    """Steps that need nothing but what the devices hold.

    Attributes:
        on_device: What `to_device` made of the examples.
        rows: The examples of each step, int32 `[steps, batch]`; of this machine's part of the batch.
    """

    on_device: Any
    rows: np.ndarray


class Feed:
    """The batches of each epoch; a context in which a thread reads ahead, from its very beginning.

    Args:
        job: The training, whose source is fed.
        index: The number of this machine, from 0.
        processes: How many machines train together.
    """

    def __init__(self, job: Job, index: int = 0, processes: int = 1) -> None:
        source, batch_size, memory_megabytes = job.source, job.training.batch_size, job.training.memory_megabytes
        self._source, self._specs, self._batch_size = source, job.specs, batch_size
        self._seed, self._machine = job.seed, index
        self.examples = sum(source.counts)
        self.steps = self.examples // batch_size
        each = lanes(batch_size) // processes
        self._lanes = range(index * each, (index + 1) * each)
        bounds = order.bounds(self.examples, batch_size)
        self._first, last = int(bounds[self._lanes.start]), int(bounds[self._lanes.stop])
        self._pieces = chunks.within(source.counts, self._first, last)

        self._bytes = sum(spec.bytes for spec in job.specs.values()) + _WEIGHT
        # The same for all machines, which must make the same calls: not what this one has, but what any has at most.
        most, room = -(-self.examples // processes), int(memory_megabytes * 1e6) // self._bytes
        self.is_streamed = room < most
        self._steps_of_chunk = max(1, room // _PARTS // self.batch)
        self.capacity = self._steps_of_chunk * self.batch if self.is_streamed else most
        if self.is_streamed:
            logger.info(
                "streaming the train split, of which training.memory_megabytes (%g) hold %s, in chunks of %s",
                memory_megabytes,
                counted(room, "example"),
                f"{self.capacity:,}",
            )

        self._reading: Future[Examples] | None = None
        self._whole: Any = None
        self._shard: tuple[int, Examples] | None = None
        self._checked: set[int] = set()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="elboflow-feed")
        self._coming: dict[tuple[int, int], Future[Any]] = {}
        self._is_over = threading.Event()

    @property
    def batch(self) -> int:
        """Examples of a step, of this machine's part."""
        return len(self._lanes) * (self._batch_size // lanes(self._batch_size))

    def epoch(self, number: int, skip: int, to_device: ToDevice) -> Iterator[Portion]:
        """Yields the portions of an epoch, from its step `skip` on.

        Args:
            number: The epoch's, from 1.
            skip: How many of its steps have been made already.
            to_device: Copies examples to the devices, given the most that it may ever get; called by a thread where the
                split is streamed.

        Raises:
            WorkError: A shard is missing or damaged, or its examples are not what they must be.
        """
        if self.is_streamed:
            yield from self._streamed(number, skip, to_device)
            return
        if self._whole is None:
            read = self._reading.result() if self._reading else self._examples(self._pieces)
            self._whole, self._reading, self._shard = to_device(read, self.capacity), None, None
        rows = order.rows(self._seed, number, self.examples, self._batch_size, self._lanes)
        yield Portion(self._whole, rows[skip:] - self._first)

    def __enter__(self) -> Self:
        if not self.is_streamed:
            self._reading = self._thread.submit(self._examples, self._pieces)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()
        self._thread.shutdown(cancel_futures=True)

    def _streamed(self, number: int, skip: int, to_device: ToDevice) -> Iterator[Portion]:
        planned, (first, skip) = self._chunks(number), divmod(skip, self._steps_of_chunk)
        if first == len(planned):  # its last step has been made
            return
        coming = self._coming.get((number, first)) or self._begin((number, first), planned[first], to_device)
        for place in range(first, len(planned)):
            held = coming.result()
            if place + 1 < len(planned):
                coming = self._begin((number, place + 1), planned[place + 1], to_device)
            else:
                coming = self._begin((number + 1, 0), self._chunks(number + 1)[0], to_device)
            rows = chunks.rows(self._seed, number, self._machine, place, planned[place], self.batch)
            yield Portion(held, rows[skip:])
            skip = 0

    def _chunks(self, number: int) -> list[chunks.Chunk]:
        shown = self.steps * self.batch
        return chunks.chunks(self._seed, number, self._machine, self._pieces, self.capacity, shown)

    def _begin(self, place: tuple[int, int], chunk: chunks.Chunk, to_device: ToDevice) -> Future[Any]:
        """Lets the thread make the chunk at a place (epoch, number): the one that comes, and no other."""
        self._coming = {place: self._thread.submit(lambda: to_device(self._examples(chunk), self.capacity))}
        return self._coming[place]

    def _examples(self, pieces: Sequence[Piece]) -> Examples:
        return Examples.joined([self._read(piece) for piece in pieces])

    def _read(self, piece: Piece) -> Examples:
        if self._is_over.is_set():  # what is being read is not needed
            raise CancelledError
        if self._shard is None or self._shard[0] != piece.shard:
            self._shard = None  # before the next one is there
            read = self._source.read(piece.shard)
            if piece.shard not in self._checked:
                read.check(self._specs, "train")
                self._checked.add(piece.shard)
            self._shard = piece.shard, read.padded(self._specs)
        return self._shard[1][piece.first : piece.stop]
