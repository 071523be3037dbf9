"""What a worker needs to know."""

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
    """The dataset that is made, as workers know it. It travels to them, pickled.

    Attributes:
        config: What the dataset is made from.
        raw: The raw data.
        folder: Where the shards go, under temporary names.
        fitted: The features that can be converted: some while others are looked at, all when records are written.
        shards: How many shards each split is spread over; nothing while features are looked at.
    """

    config: DataConfig
    raw: Raw
    folder: str
    fitted: Mapping[str, Fitted]
    shards: Mapping[str, int]

    @property
    def schema(self) -> Schema:
        """What each record holds."""
        return Schema.of({name: fitted.wire for name, fitted in self.fitted.items()})

    @property
    def fractions(self) -> dict[str, float]:
        """The splits that share examples by their keys."""
        return {name: fraction for name, fraction in self.config.splits.items() if not isinstance(fraction, str)}

    @property
    def own_split(self) -> str | None:
        """The split that is the source's own held-out part, if there is one."""
        return next((name for name, fraction in self.config.splits.items() if fraction == HELD_OUT), None)

    def shares(self, unit: Unit) -> dict[str, float]:
        """Returns the splits that share a unit's examples."""
        own = self.own_split if unit.part == "held_out" else None
        return self.fractions if own is None else {own: 1.0}

    @property
    def destinations(self) -> list[tuple[str, int]]:
        """Every (split, shard); a destination is known by its place in this list."""
        return [(split, shard) for split, count in sorted(self.shards.items()) for shard in range(count)]

    def __reduce__(self) -> Any:
        """Pickles the plan once: Beam pickles what holds it some hundred times."""
        return _unpacked, (self._packed,)

    @cached_property
    def _packed(self) -> bytes:
        return pickle.dumps((self.config, self.raw, self.folder, self.fitted, self.shards))


@lru_cache(maxsize=2)
def _unpacked(packed: bytes) -> Plan:
    return Plan(*pickle.loads(packed))
