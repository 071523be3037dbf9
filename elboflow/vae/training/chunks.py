"""The order of an epoch if the split is larger than memory: chunks, as a function of (seed, epoch, machine).

Each epoch permutes the shards of a machine, and rotates each shard by a random offset. The resulting sequence is split
into chunks of equal size, and each chunk is permuted. In the datasets of this project, a shard is sorted by a hash, so
any contiguous part of a shard is a random sample of the split.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

_SHARDS, _ROWS = 0, 1


@dataclass(frozen=True)
class Piece:
    """Consecutive examples of a shard."""

    shard: int
    first: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.first


Chunk: TypeAlias = list[Piece]


def within(counts: Sequence[int], first: int, stop: int) -> list[Piece]:
    """Returns the pieces of shards with the examples `first` to `stop` of a split.

    Args:
        counts: The number of examples of each shard.
        first: The index of the first example.
        stop: The index after the last example.
    """
    starts = (np.cumsum(counts) - counts).tolist()
    return [
        Piece(shard, max(first - start, 0), min(stop - start, count))
        for shard, (start, count) in enumerate(zip(starts, counts, strict=True))
        if start < stop and first < start + count
    ]


def chunks(seed: int, epoch: int, machine: int, pieces: Sequence[Piece], capacity: int, examples: int) -> list[Chunk]:
    """Returns the chunks of an epoch.

    Args:
        seed: The seed of the training.
        epoch: The epoch, from 1.
        machine: The index of the machine, from 0.
        pieces: The machine's part of the split.
        capacity: The number of examples of a chunk; the last chunk may have fewer.
        examples: The number of examples of the epoch; the remaining examples are left out.
    """
    random = np.random.default_rng([seed, epoch, machine, _SHARDS])
    made: list[Chunk] = []
    room = 0
    for piece in (part for number in random.permutation(len(pieces)) for part in _rotated(pieces[number], random)):
        at = piece.first
        while at < piece.stop and examples:
            if not room:
                made.append([])
                room = capacity
            count = min(piece.stop - at, room, examples)
            made[-1].append(Piece(piece.shard, at, at + count))
            at, room, examples = at + count, room - count, examples - count
    return made


def rows(seed: int, epoch: int, machine: int, number: int, chunk: Chunk, batch: int) -> np.ndarray:
    """Returns the row indices of each batch of chunk `number` of an epoch, int32 `[steps, batch]`."""
    random = np.random.default_rng([seed, epoch, machine, _ROWS, number])
    return random.permutation(sum(map(len, chunk))).astype(np.int32).reshape(-1, batch)


def _rotated(piece: Piece, random: np.random.Generator) -> list[Piece]:
    """Rotates a piece by a random offset: returns the part after the offset, then the part before it."""
    middle = int(random.integers(piece.first, piece.stop))
    return [Piece(piece.shard, middle, piece.stop), Piece(piece.shard, piece.first, middle)]
