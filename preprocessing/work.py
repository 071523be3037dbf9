"""What the workers do: read a unit of raw data into encoded records, and write the records of a shard.

A worker meets two kinds of trouble. What a person can mend (damaged data, a full disk) becomes a line in the summary:
an engine would retry an exception, and wrap it until nobody can read it. Anything else is a bug, and is raised.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import apache_beam as beam
import numpy as np
from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems
from apache_beam.pvalue import TaggedOutput

from preprocessing import files, records, splits
from preprocessing.config import HELD_OUT, KEY, DataConfig
from preprocessing.quantise import quantise
from preprocessing.sources import Batch, Raw, Unit
from preprocessing.summary import Moments, Summary, WrittenShard
from settings import WorkError

LEAKED = "also in the held-out part"
KEYS, SUMMARIES = "keys", "summaries"

Encoded = tuple[bytes, bytes, bytes]  # keys and lengths as int64, and the records
Tagged = TaggedOutput[Literal["keys"], bytes] | TaggedOutput[Literal["summaries"], bytes]


@dataclass(frozen=True)
class Plan:
    """What a worker needs to know.

    Attributes:
        config: What the dataset is made from.
        raw: The raw data.
        folder: Where the shards go, under temporary names.
        shards: How many shards each split is spread over.
    """

    config: DataConfig
    raw: Raw
    folder: str
    shards: dict[str, int]

    @property
    def schema(self) -> records.Schema:
        """What each record holds."""
        images = {name: image.size for name, image in self.config.images.items()}
        return records.Schema(images, (*self.config.categories, KEY))

    @property
    def destinations(self) -> list[tuple[str, int]]:
        """Every (split, shard); a destination is known by its place in this list."""
        return [(split, shard) for split, count in sorted(self.shards.items()) for shard in range(count)]


class ReadAndEncode(beam.DoFn):
    """A work unit → (destination, encoded records), a few for each of its batches.

    Two more outputs: KEYS, the keys of each batch, and SUMMARIES, in JSON.
    """

    def __init__(self, plan: Plan):
        self.plan = plan

    def process(self, unit: Unit, held_out: Iterable[bytes] = ()) -> Iterator[tuple[int, Encoded] | Tagged]:
        """Yields the records of a unit, less those whose keys are held out."""
        refused = np.frombuffer(b"".join(held_out), np.int64)
        try:
            for batch in self.plan.raw.read(unit):
                columns = quantise(batch, self.plan.config)
                keys = columns[KEY] = splits.keys([columns[name] for name in self.plan.config.images])
                if unit.held_out:
                    yield TaggedOutput(KEYS, keys.tobytes())
                elif len(refused) and (leaked := np.isin(keys, refused)).any():
                    columns = {name: values[~leaked] for name, values in columns.items()}
                    yield TaggedOutput(SUMMARIES, _json(Summary(rejected={LEAKED: int(leaked.sum())})))
                yield from self._encode(columns, batch)
        except WorkError as error:
            yield TaggedOutput(SUMMARIES, _json(Summary(problems=[str(error)])))

    def _encode(self, columns: dict[str, np.ndarray], batch: Batch) -> Iterator[tuple[int, Encoded]]:
        if not len(columns[KEY]):
            return
        destinations = self._destinations(columns[KEY], batch.held_out)
        order = np.argsort(destinations, kind="stable")
        encoded = records.encode(self.plan.schema, {name: values[order] for name, values in columns.items()})
        present, first = np.unique(destinations[order], return_index=True)
        ends = np.cumsum(encoded.lengths)
        starts = ends - encoded.lengths
        keys, data = columns[KEY][order], encoded.data.tobytes()
        for destination, begin, end in zip(present.tolist(), first, [*first[1:], len(order)], strict=True):
            lengths = encoded.lengths[begin:end].tobytes()
            yield destination, (keys[begin:end].tobytes(), lengths, data[starts[begin] : ends[end - 1]])

    def _destinations(self, keys: np.ndarray, is_held_out: bool) -> np.ndarray:
        """Returns the number of each example's destination, int64 [examples]."""
        fractions = {name: f for name, f in self.plan.config.splits.items() if not isinstance(f, str)}
        own = [name for name, fraction in self.plan.config.splits.items() if fraction == HELD_OUT]
        numbers, names = splits.assign(keys, {own[0]: 1.0} if is_held_out and own else fractions)
        destinations = np.empty(len(keys), np.int64)
        for number, name in enumerate(names):
            rows = np.flatnonzero(numbers == number)
            offset = self.plan.destinations.index((name, 0))
            destinations[rows] = offset + splits.shards(keys[rows], self.plan.shards[name])
        return destinations


class WriteShard(beam.DoFn):
    """(destination, encoded records) → a file, and a summary of it in JSON."""

    def __init__(self, plan: Plan):
        self.plan = plan

    def process(self, shard: tuple[int, Iterable[Encoded]]) -> Iterator[bytes]:
        """Writes the records of a shard in the order of their keys."""
        split, number = self.plan.destinations[shard[0]]
        keys, lengths, data = zip(*shard[1], strict=True)
        unsorted = records.Records(
            np.frombuffer(b"".join(data), np.uint8), np.frombuffer(b"".join(lengths), np.int64)
        )
        content = _sorted(unsorted, np.frombuffer(b"".join(keys), np.int64)).data.tobytes()
        path = files.join(self.plan.folder, f"{split}-{number:05d}")
        try:
            with FileSystems.create(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
                file.write(content)
        except (OSError, BeamIOError) as error:
            yield _json(Summary(problems=[f"could not write {path}: {error}"]))
            return
        columns = records.decode(self.plan.schema, content, path)
        written = WrittenShard(
            split=split,
            number=number,
            name=path,
            examples=len(columns[KEY]),
            bytes=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            classes={name: _count(columns[name]) for name in self.plan.config.categories},
        )
        images = self.plan.config.images if split == "train" else {}
        moments = {name: Moments.of(columns[name]) for name in images}
        yield _json(Summary(shards=[written], moments=moments))


def _sorted(unsorted: records.Records, keys: np.ndarray) -> records.Records:
    """Returns the records in the order of their keys, and of their bytes where keys are equal."""
    order = np.argsort(keys, kind="stable")
    result = unsorted.reordered(order)
    ordered = keys[order]
    if not (twins := ordered[1:] == ordered[:-1]).any():
        return result
    ends = np.cumsum(result.lengths)
    content = [result.data[end - length : end].tobytes() for end, length in zip(ends, result.lengths, strict=True)]
    again = np.array(sorted(range(len(order)), key=lambda row: (ordered[row], content[row])))
    return result.reordered(again)


def _count(classes: np.ndarray) -> dict[int, int]:
    values, counts = np.unique(classes, return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


def _json(summary: Summary) -> bytes:
    return summary.model_dump_json().encode()
