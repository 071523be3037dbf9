"""The order of an epoch of a split that is larger than memory: chunk after chunk, a function of (seed, epoch, machine).

The shards of a machine follow each other in an order of the epoch's own, each from a place of the epoch's own on, and
around; what follows is cut into chunks of one size, and each chunk is shown in an order of its own. In the datasets of
this project a shard is in the order of a hash, so that any stretch of it is a random sample of the split.
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
    """Returns where the examples `first` to `stop` of a split are, given the examples of each shard."""
    starts = (np.cumsum(counts) - counts).tolist()
    return [
        Piece(shard, max(first - start, 0), min(stop - start, count))
        for shard, (start, count) in enumerate(zip(starts, counts, strict=True))
        if start < stop and first < start + count
    ]


def chunks(seed: int, epoch: int, machine: int, pieces: Sequence[Piece], capacity: int, examples: int) -> list[Chunk]:
    """Returns the chunks of an epoch.

    Args:
        seed: Of the training.
        epoch: From 1.
        machine: Its number, from 0.
        pieces: What the machine has of the split.
        capacity: The examples of a chunk; the last one may have fewer.
        examples: How many examples the epoch shows; the rest of them is left out.
    """
    random = np.random.default_rng([seed, epoch, machine, _SHARDS])
    made: list[Chunk] = []
    room = 0
    for piece in (part for number in random.permutation(len(pieces)) for part in _around(pieces[number], random)):
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
    """Returns the examples of each batch of a chunk, the epoch's `number`th, int32 `[steps, batch]`."""
    random = np.random.default_rng([seed, epoch, machine, _ROWS, number])
    return random.permutation(sum(map(len, chunk))).astype(np.int32).reshape(-1, batch)


def _around(piece: Piece, random: np.random.Generator) -> list[Piece]:
    """Returns the piece from a random place on, and then what is before that place."""
    middle = int(random.integers(piece.first, piece.stop))
    return [Piece(piece.shard, middle, piece.stop), Piece(piece.shard, piece.first, middle)]
