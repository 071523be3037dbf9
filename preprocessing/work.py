"""What the workers do: read a unit of raw data into encoded records, and write the records of a shard.

A worker meets two kinds of trouble. What a person can mend (damaged data, a full disk) becomes a line in the summary:
an engine would retry an exception, and wrap it until it cannot be read. Anything else is a bug, and is raised.
"""

import hashlib
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

import apache_beam as beam
import numpy as np
from apache_beam.pvalue import TaggedOutput

from elboflow.settings import WorkError
from preprocessing import files, records, splits
from preprocessing.beside import Writer, ahead
from preprocessing.config import HELD_OUT, KEY, DataConfig
from preprocessing.extent import Extent
from preprocessing.quantise import RawImages, UnfitError, quantise, raw_images
from preprocessing.sources import Batch, Raw, Unit
from preprocessing.summary import Moments, Numbers, Summary, WrittenShard, add
from preprocessing.vocabulary import Names

LEAKED = "the same image is in the held-out part"
REMARKS = "remarks"

Encoded = tuple[bytes, bytes, str, int]  # keys and lengths as int64; a file, and where in it the records begin
Output: TypeAlias = tuple[int, Encoded] | TaggedOutput[Literal["remarks"], bytes]


@dataclass(frozen=True)
class Plan:
    """What a worker needs to know.

    Attributes:
        config: What the dataset is made from.
        raw: The raw data.
        folder: Where the shards go, under temporary names.
        shards: How many shards each split is spread over.
        names: The classes' names of each category that is text.
    """

    config: DataConfig
    raw: Raw
    folder: str
    shards: dict[str, int]
    names: Names

    @property
    def schema(self) -> records.Schema:
        """What each record holds."""
        images = {name: image.size for name, image in self.config.images.items()}
        return records.Schema(images, (*self.config.categories, KEY), tuple(self.config.numbers))

    @property
    def fractions(self) -> dict[str, float]:
        """The splits that share examples by their keys."""
        return {name: fraction for name, fraction in self.config.splits.items() if not isinstance(fraction, str)}

    @property
    def own_split(self) -> str | None:
        """The split that is the source's own held-out part, if there is one."""
        return next((name for name, fraction in self.config.splits.items() if fraction == HELD_OUT), None)

    @property
    def destinations(self) -> list[tuple[str, int]]:
        """Every (split, shard); a destination is known by its place in this list."""
        return [(split, shard) for split, count in sorted(self.shards.items()) for shard in range(count)]


class ReadAndEncode(beam.DoFn):
    """A work unit → (destination, encoded records), a few for each of its batches; REMARKS are another output.

    An example that the source holds out must not be trained on. So its key goes, without a record, to the destination
    that the example would have had otherwise: there, all examples with the same key are left out.
    """

    def __init__(self, plan: Plan):
        self.plan = plan

    def process(self, unit: Unit) -> Iterator[Output]:
        """Yields the records of a unit, and a summary of its raw values or its problems, in JSON."""
        found: list[tuple[int, Encoded]] = []
        seen: dict[str, Extent] = {}
        trained: dict[str, Extent] = {}
        unfit: dict[str, list[str]] = {}
        problems = []
        try:
            with Writer() as writer:
                for batch in ahead(self.plan.raw.read(unit)):
                    images = raw_images(batch, self.plan.config)
                    seen = add(seen, _extents(images))
                    if unfit:
                        continue  # all that is wanted of the rest is where its values lie
                    try:
                        elements, is_trained = self._of(batch, images, unit, writer)
                    except UnfitError as error:
                        unfit[error.feature] = [str(error)]
                    else:
                        found.extend(elements)
                        trained = add(trained, _extents(images, is_trained))
            if not unfit:
                yield from found  # not before their files are there
        except WorkError as error:
            problems.append(str(error))
        summary = Summary(seen=seen, trained=trained, problems=problems, unfit=unfit)
        yield TaggedOutput(REMARKS, _json(summary))

    def _of(
        self, batch: Batch, images: dict[str, RawImages], unit: Unit, writer: Writer
    ) -> tuple[list[tuple[int, Encoded]], np.ndarray]:
        """Returns the encoded records of a batch, and which of its examples are of the train split."""
        columns = quantise(batch, images, self.plan.config, self.plan.names)
        keys = columns[KEY] = splits.keys([columns[name] for name in self.plan.config.images])
        own = {self.plan.own_split: 1.0} if unit.held_out and self.plan.own_split else None
        destinations = self._spread(keys, own or self.plan.fractions)
        elements = [*self._encode(columns, destinations, writer)]
        if own:
            elements += self._refuse(keys, self._spread(keys, self.plan.fractions))
        is_train = np.array([split == "train" for split, _ in self.plan.destinations])
        return elements, is_train[destinations]

    def _encode(
        self, columns: dict[str, np.ndarray], destinations: np.ndarray, writer: Writer
    ) -> Iterator[tuple[int, Encoded]]:
        order = np.argsort(destinations, kind="stable")
        encoded = records.encode(self.plan.schema, {name: values[order] for name, values in columns.items()})
        # Only keys travel through Beam. Its in-process runner keeps what it groups in memory, and copies it six times.
        path = files.join(self.plan.folder, f"batch-{uuid.uuid4().hex}")
        writer.write(path, encoded.data.data)
        keys, starts = columns[KEY][order], np.cumsum(encoded.lengths) - encoded.lengths
        for destination, rows in _groups(destinations[order]):
            yield destination, (keys[rows].tobytes(), encoded.lengths[rows].tobytes(), path, int(starts[rows.start]))

    def _refuse(self, keys: np.ndarray, destinations: np.ndarray) -> Iterator[tuple[int, Encoded]]:
        order = np.argsort(destinations, kind="stable")
        for destination, rows in _groups(destinations[order]):
            yield destination, (keys[order[rows]].tobytes(), b"", "", 0)

    def _spread(self, keys: np.ndarray, fractions: dict[str, float]) -> np.ndarray:
        """Returns the number of each example's destination, int64 [examples]."""
        numbers, names = splits.assign(keys, fractions)
        first = np.array([self.plan.destinations.index((name, 0)) for name in names])
        count = np.array([self.plan.shards[name] for name in names])
        return first[numbers] + splits.shards(keys, count[numbers])


class WriteShard(beam.DoFn):
    """(destination, encoded records) → a file, and a summary of it in JSON."""

    def __init__(self, plan: Plan):
        self.plan = plan

    def process(self, shard: tuple[int, Iterable[Encoded]]) -> Iterator[bytes]:
        """Writes the records of a shard in the order of their keys."""
        split, number = self.plan.destinations[shard[0]]
        found = [encoded for encoded in shard[1] if encoded[1]]
        refused = _joined([keys for keys, lengths, _, _ in shard[1] if not lengths])
        keys, lengths = _joined([encoded[0] for encoded in found]), _joined([encoded[1] for encoded in found])
        kept = np.flatnonzero(~np.isin(keys, refused))
        rejected = {LEAKED: len(keys) - len(kept)} if len(kept) < len(keys) else {}
        if not len(kept):
            yield _json(Summary(rejected=rejected))
            return
        path = files.join(self.plan.folder, f"{split}-{number:05d}")
        try:
            with Writer() as writer:
                content = _sorted(records.Records(_fetched(found), lengths), keys, kept).data
                writer.write(path, content.data)
                columns = records.parse(self.plan.schema, content, path)
                written = WrittenShard(
                    split=split,
                    number=number,
                    name=path,
                    examples=len(columns[KEY]),
                    distinct=1 + int((columns[KEY][1:] != columns[KEY][:-1]).sum()),  # they are in order
                    bytes=len(content),
                    sha256=hashlib.sha256(content.data).hexdigest(),
                    classes={name: _count(columns[name]) for name in self.plan.config.categories},
                    numbers={
                        name: Numbers.of(columns[name], {c: columns[c] for c in self.plan.config.categories})
                        for name in self.plan.config.numbers
                    },
                )
                images = self.plan.config.images if split == "train" else {}
                moments = {name: Moments.of(columns[name]) for name in images}
            yield _json(Summary(shards=[written], moments=moments, rejected=rejected))
        except WorkError as error:
            yield _json(Summary(problems=[str(error)]))


def _extents(images: dict[str, RawImages], chosen: np.ndarray | slice = slice(None)) -> dict[str, Extent]:
    found = {name: image.extent(chosen) for name, image in images.items()}
    return {name: extent for name, extent in found.items() if extent is not None}


def _fetched(found: list[Encoded]) -> np.ndarray:
    """Returns the records that these elements point to, one after the other, uint8 [bytes]."""
    sizes = [int(np.frombuffer(lengths, np.int64).sum()) for _, lengths, _, _ in found]
    content = np.empty(sum(sizes), np.uint8)
    at = 0
    for (_, _, path, start), size in zip(found, sizes, strict=True):
        with files.open_to_read(path) as file:
            file.seek(start)
            at += file.readinto(content[at : at + size].data)
    return content


def _groups(ordered: np.ndarray) -> Iterator[tuple[int, slice]]:
    """Yields each value of an ordered array and where it stands."""
    values, first = np.unique(ordered, return_index=True)
    for value, start, stop in zip(values.tolist(), first, [*first[1:], len(ordered)], strict=True):
        yield value, slice(start, stop)


def _joined(pieces: list[bytes]) -> np.ndarray:
    return np.frombuffer(b"".join(pieces), np.int64)


def _sorted(unsorted: records.Records, keys: np.ndarray, rows: np.ndarray) -> records.Records:
    """Returns these rows of the records in the order of their keys, and of their bytes where keys are equal."""
    order = rows[np.argsort(keys[rows], kind="stable")]
    result = unsorted.reordered(order)
    ordered = keys[order]
    if not (ordered[1:] == ordered[:-1]).any():
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
