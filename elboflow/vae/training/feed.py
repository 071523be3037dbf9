"""The examples in device memory, and the row indices of each batch.

A split that fits into memory is copied to the device as a whole. A larger split is streamed: while the device computes
on a chunk, a thread reads, verifies and decodes the next chunk, also of the following epoch, and copies it to the
device. The memory is shared by the current chunk, the next chunk, the chunk that is read, and the rest of its shard: a
quarter each.
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
_PARTS = 4  # parts of the memory: current chunk, next chunk, chunk that is read, rest of its shard

ToDevice = Callable[[Examples, int], Any]


@dataclass(frozen=True)
class DeviceBatches:
    """Steps whose examples are all in device memory.

    Attributes:
        on_device: The result of `to_device`.
        rows: The row indices of each step's examples, int32 `[steps, batch]`, for this machine's part of the batch.
    """

    on_device: Any
    rows: np.ndarray


class Feed:
    """The batches of each epoch. A context manager: within its context, a thread prefetches examples.

    Args:
        job: The training.
        index: The index of this machine, from 0.
        processes: The number of machines.
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
        # All machines must make the same calls, so `most` is the largest part of any machine, not this machine's part.
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
        """The number of examples in this machine's part of a batch."""
        return len(self._lanes) * (self._batch_size // lanes(self._batch_size))

    def epoch(self, number: int, skip: int, to_device: ToDevice) -> Iterator[DeviceBatches]:
        """Yields the portions of an epoch, from step `skip` on.

        Args:
            number: The epoch, from 1.
            skip: The number of steps of the epoch that are done already.
            to_device: Copies examples to the devices, padded to a capacity. For a streamed split, a thread calls it.

        Raises:
            WorkError: A shard is missing or damaged, or its examples do not fit the model.
        """
        if self.is_streamed:
            yield from self._streamed(number, skip, to_device)
            return
        if self._whole is None:
            read = self._reading.result() if self._reading else self._examples(self._pieces)
            self._whole, self._reading, self._shard = to_device(read, self.capacity), None, None
        rows = order.rows(self._seed, number, self.examples, self._batch_size, self._lanes)
        yield DeviceBatches(self._whole, rows[skip:] - self._first)

    def __enter__(self) -> Self:
        if not self.is_streamed:
            self._reading = self._thread.submit(self._examples, self._pieces)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()
        self._thread.shutdown(cancel_futures=True)

    def _streamed(self, number: int, skip: int, to_device: ToDevice) -> Iterator[DeviceBatches]:
        planned, (first, skip) = self._chunks(number), divmod(skip, self._steps_of_chunk)
        if first == len(planned):  # the last step of the epoch is done
            return
        coming = self._coming.get((number, first)) or self._prefetch((number, first), planned[first], to_device)
        for place in range(first, len(planned)):
            held = coming.result()
            if place + 1 < len(planned):
                coming = self._prefetch((number, place + 1), planned[place + 1], to_device)
            else:
                coming = self._prefetch((number + 1, 0), self._chunks(number + 1)[0], to_device)
            rows = chunks.rows(self._seed, number, self._machine, place, planned[place], self.batch)
            yield DeviceBatches(held, rows[skip:])
            skip = 0

    def _chunks(self, number: int) -> list[chunks.Chunk]:
        shown = self.steps * self.batch
        return chunks.chunks(self._seed, number, self._machine, self._pieces, self.capacity, shown)

    def _prefetch(self, place: tuple[int, int], chunk: chunks.Chunk, to_device: ToDevice) -> Future[Any]:
        """Starts the prefetch of the chunk at a place (epoch, number); there is only one prefetch at a time."""
        self._coming = {place: self._thread.submit(lambda: to_device(self._examples(chunk), self.capacity))}
        return self._coming[place]

    def _examples(self, pieces: Sequence[Piece]) -> Examples:
        return Examples.joined([self._read(piece) for piece in pieces])

    def _read(self, piece: Piece) -> Examples:
        if self._is_over.is_set():  # the prefetched chunk is no longer needed
            raise CancelledError
        if self._shard is None or self._shard[0] != piece.shard:
            self._shard = None  # frees its memory before the next shard is read
            read = self._source.read(piece.shard)
            if piece.shard not in self._checked:
                read.check(self._specs, "train")
                self._checked.add(piece.shard)
            self._shard = piece.shard, read.padded(self._specs)
        return self._shard[1][piece.first : piece.stop]
