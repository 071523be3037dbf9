"""The Beam steps on a unit of raw data: collect statistics for the fit, or encode records.

An error that the user can fix (damaged data, a full disk) becomes a line in the report, because an engine would retry
an exception and wrap it beyond reading. Any other error is a bug, and is raised.
"""

import uuid
from collections.abc import Iterator, Mapping
from typing import Any, Literal, TypeAlias

import apache_beam as beam
import numpy as np
from apache_beam.pvalue import TaggedOutput

from elboflow.settings import WorkError
from preprocessing import files, records, splits
from preprocessing.background import Writer, ahead
from preprocessing.config import KEY
from preprocessing.examples import Examples, examples_of, extents, keys_of, reasons_of, taken
from preprocessing.extent import Extent
from preprocessing.features import Feature
from preprocessing.plan import Plan
from preprocessing.raw import Unit
from preprocessing.report import Reason, RejectedFile, Report, extents_merged, reasons_merged
from preprocessing.shards import Encoded

REPORTS = "reports"

NumberedUnit = tuple[int, Unit]
Output: TypeAlias = tuple[int, Encoded] | TaggedOutput[Literal["reports"], bytes]


class Look(beam.DoFn):
    """A work unit → a report in JSON, with the statistics for the features that must be fitted.

    Args:
        plan: The plan of the dataset.
        features: The features to read: those to fit, and those that identify the examples of the train split.
        fit: The names of the features to fit.
    """

    def __init__(self, plan: Plan, features: Mapping[str, Feature], fit: tuple[str, ...]) -> None:
        self.plan, self.features, self.fit = plan, features, fit

    def process(self, unit: NumberedUnit) -> Iterator[bytes]:
        """Yields the report of a unit."""
        log = UnitLog(*unit)
        looks: dict[str, Any] = {}
        try:
            for batch in ahead(self.plan.raw.read(unit[1])):
                read = examples_of(batch, self.features, {})
                log.add(read)
                for name, found in self._looks(read, unit[1]).items():
                    looks[name] = found if name not in looks else looks[name].merged(found)
        except WorkError as error:
            log.problems.append(str(error))
        yield log.report({name: look.model_dump(mode="json") for name, look in looks.items()}).to_json()

    def _looks(self, read: Examples, unit: Unit) -> dict[str, Any]:
        train: np.ndarray | None = None
        found = {}
        for name in self.fit:
            feature, values = self.features[name], read.values[name]
            if feature.fits_on == "train":
                if train is None:
                    train = self._train_rows(read, unit)
                values = values.take(train)
            found[name] = feature.look(values)
        return found

    def _train_rows(self, read: Examples, unit: Unit) -> np.ndarray:
        """Returns the rows of the train split."""
        keys = keys_of(self.features, read.values, self.plan.config.identifying)
        numbers, names = splits.assign(keys, self.plan.shares(unit))
        return np.flatnonzero(np.array([name == "train" for name in names])[numbers])


class ReadAndEncode(beam.DoFn):
    """A work unit → (destination, encoded records), several per batch; the reports are the second output, REPORTS.

    A held-out example must not be in the train split, and neither must a copy of it. So the key of a held-out example
    is sent, without a record, to the destination that a copy would have: there, records with this key are left out.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def process(self, unit: NumberedUnit) -> Iterator[Output]:
        """Yields the records of a unit, and a report of it in JSON."""
        found: list[tuple[int, Encoded]] = []
        log = UnitLog(*unit)
        try:
            with Writer() as writer:
                for batch in ahead(self.plan.raw.read(unit[1])):
                    read = examples_of(batch, self.plan.config.features, self.plan.fitted)
                    log.add(read)
                    log.list(read, self.plan, writer)
                    elements, is_trained = self._encoded(read, unit[1], writer)
                    found.extend(elements)
                    log.trained = extents_merged(
                        log.trained, extents(self.plan.config.features, read.values, is_trained)
                    )
            yield from found  # after the exit of Writer: now all files are written
        except WorkError as error:
            log.problems.append(str(error))
        yield TaggedOutput(REPORTS, log.report().to_json())

    def _encoded(self, read: Examples, unit: Unit, writer: Writer) -> tuple[list[tuple[int, Encoded]], np.ndarray]:
        """Returns the encoded records of a batch, and a mask of its train examples, bool [examples]."""
        config = self.plan.config
        keys = keys_of(config.features, read.values, config.identifying)
        destinations = self._destinations(keys, self.plan.shares(unit))
        elements = [*self._encode(keys, read.stored, destinations, writer)] if len(keys) else []
        if unit.part == "held_out" and self.plan.own_split:
            elements += self._held_out_keys(keys, self._destinations(keys, self.plan.fractions))
        is_train = np.array([split == "train" for split, _ in self.plan.destinations])
        return elements, is_train[destinations]

    def _encode(
        self, keys: np.ndarray, stored: Mapping[str, records.Column], destinations: np.ndarray, writer: Writer
    ) -> Iterator[tuple[int, Encoded]]:
        order = np.argsort(destinations, kind="stable")
        keys = keys[order]
        columns = {name: taken(column, order) for name, column in stored.items()}
        encoded = records.encode(self.plan.schema, {**columns, KEY: keys})
        # Only keys go through Beam, because its in-process runner copies grouped elements in memory six times.
        path = files.join(self.plan.folder, f"batch-{uuid.uuid4().hex}")
        writer.write(path, encoded.data.data)
        starts = np.cumsum(encoded.lengths) - encoded.lengths
        for destination, rows in _groups(destinations[order]):
            yield destination, (keys[rows].tobytes(), encoded.lengths[rows].tobytes(), path, int(starts[rows.start]))

    def _held_out_keys(self, keys: np.ndarray, destinations: np.ndarray) -> Iterator[tuple[int, Encoded]]:
        order = np.argsort(destinations, kind="stable")
        for destination, rows in _groups(destinations[order]):
            yield destination, (keys[order[rows]].tobytes(), b"", "", 0)

    def _destinations(self, keys: np.ndarray, fractions: Mapping[str, float]) -> np.ndarray:
        """Returns the number of each example's destination, int64 [examples]."""
        numbers, names = splits.assign(keys, fractions)
        first = np.array([self.plan.destinations.index((name, 0)) for name in names])
        count = np.array([self.plan.shards[name] for name in names])
        return first[numbers] + splits.shards(keys, count[numbers])


class UnitLog:
    """Collects the report of a unit while its batches are read.

    Args:
        number: The number of the unit, in the order of the source.
        unit: The unit.
    """

    def __init__(self, number: int, unit: Unit) -> None:
        self.number, self.unit, self.count = number, unit, 0
        self.seen: dict[str, Extent] = {}
        self.trained: dict[str, Extent] = {}
        self.reasons: list[Reason] = []
        self.rejected: list[RejectedFile] = []
        self.problems: list[str] = []

    def add(self, read: Examples) -> None:
        """Adds a batch."""
        self.count += read.count
        self.seen = extents_merged(self.seen, read.seen)
        if read.rejected:
            self.reasons = reasons_merged([*self.reasons, *reasons_of(read.rejected, self.number)])

    def list(self, read: Examples, plan: Plan, writer: Writer) -> None:
        """Writes a line for each rejected example of a batch."""
        if read.rejected:
            path = files.join(plan.folder, f"rejected-{uuid.uuid4().hex}")
            places = {place: plan.raw.short_place(place) for place in {each.place for each in read.rejected}}
            lines = "".join(f"{each.to_json(places[each.place])}\n" for each in read.rejected)
            writer.write(path, lines.encode())
            self.rejected.append(RejectedFile(at=(self.number, read.rejected[0].row), path=path))

    def report(self, looks: Mapping[str, dict[str, Any]] | None = None) -> Report:
        """Returns the report of all batches so far."""
        return Report(
            read={self.unit.part: self.count},
            looks={**(looks or {})},
            seen=self.seen,
            trained=self.trained,
            reasons=self.reasons,
            rejected=self.rejected,
            problems=self.problems,
        )


def _groups(ordered: np.ndarray) -> Iterator[tuple[int, slice]]:
    """Yields each distinct value of a sorted array, and the slice with this value."""
    values, first = np.unique(ordered, return_index=True)
    for value, start, stop in zip(values.tolist(), first, [*first[1:], len(ordered)], strict=True):
        yield value, slice(start, stop)
