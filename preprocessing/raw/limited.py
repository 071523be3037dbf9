"""The first examples of raw data: `data.limit`."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

from preprocessing.raw import Batch, Part, Raw, Unit

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Limited(Raw):
    """The first examples of each part of a source, one work unit per part. What follows them is not read.

    Attributes:
        raw: The raw data of the source.
        limit: The most examples of a part.
    """

    raw: Raw
    limit: int

    def require_held_out(self) -> None:
        self.raw.require_held_out()

    def fingerprint(self) -> str:
        """Returns the SHA-256 of the first examples alone: what follows them does not determine the dataset."""
        digest = hashlib.sha256()
        for unit in self.units():
            for batch in self.read(unit):
                lost = [each.row for each in batch.lost]
                digest.update(f"{unit.part} {batch.columns.schema} {lost} ".encode())
                digest.update(memoryview(batch.columns.serialize()))
        return digest.hexdigest()

    def describe(self) -> str:
        return f"the first {self.limit:,} examples of {self.raw.describe()}"

    def paths(self) -> list[str]:
        return self.raw.paths()

    def units(self) -> list[Unit]:
        units = self.raw.units()
        parts = [(part, [unit for unit in units if unit.part == part]) for part in get_args(Part)]
        return [Unit(part, (), sum(unit.bytes for unit in found), self._count(found)) for part, found in parts if found]

    def _count(self, units: list[Unit]) -> int | None:
        counts = [unit.examples for unit in units if unit.examples is not None]
        return min(self.limit, sum(counts)) if len(counts) == len(units) else None

    def read(self, unit: Unit) -> Iterator[Batch]:
        left = self.limit
        for each in self.raw.units():
            if each.part != unit.part:
                continue
            for batch in self.raw.read(each):
                first = batch.first(left)
                left -= len(first) + len(first.lost)
                yield first
                if not left:
                    return

    def short_place(self, place: str) -> str:
        return self.raw.short_place(place)

    def types(self) -> "Mapping[str, pa.DataType]":
        return self.raw.types()
