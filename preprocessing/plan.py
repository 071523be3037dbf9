"""The plan of a dataset: the input of every Beam worker."""

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from preprocessing.config import HELD_OUT, DataConfig
from preprocessing.features import Fitted
from preprocessing.raw import Raw, Unit
from preprocessing.records import Schema


@dataclass(frozen=True)
class Plan:
    """The plan of a dataset. Beam pickles it and sends it to the workers.

    Attributes:
        config: The settings of the dataset.
        raw: The raw data.
        folder: The folder for the shards, under temporary names.
        fitted: The fitted features; empty in the first pass, in which features are fitted.
        shards: The number of shards of each split; empty in the first pass.
    """

    config: DataConfig
    raw: Raw
    folder: str
    fitted: Mapping[str, Fitted]
    shards: Mapping[str, int]

    @property
    def schema(self) -> Schema:
        """The schema of a record."""
        return Schema.of({name: fitted.wire for name, fitted in self.fitted.items()})

    @property
    def fractions(self) -> dict[str, float]:
        """The splits with a fraction, to which examples are assigned by key."""
        return {name: fraction for name, fraction in self.config.splits.items() if not isinstance(fraction, str)}

    @property
    def own_split(self) -> str | None:
        """The split that is the held-out part of the source, if the config has one."""
        return next((name for name, fraction in self.config.splits.items() if fraction == HELD_OUT), None)

    def shares(self, unit: Unit) -> dict[str, float]:
        """Returns the fraction of a unit's examples for each split."""
        own = self.own_split if unit.part == "held_out" else None
        return self.fractions if own is None else {own: 1.0}

    @property
    def destinations(self) -> list[tuple[str, int]]:
        """Every (split, shard). The number of a destination is its index in this list."""
        return [(split, shard) for split, count in sorted(self.shards.items()) for shard in range(count)]

    def __reduce__(self) -> Any:
        """Pickles the plan only once, because Beam pickles the objects that refer to it some hundred times."""
        return _unpacked, (self._packed,)

    @cached_property
    def _packed(self) -> bytes:
        return pickle.dumps((self.config, self.raw, self.folder, self.fitted, self.shards))


@lru_cache(maxsize=2)
def _unpacked(packed: bytes) -> Plan:
    return Plan(*pickle.loads(packed))
