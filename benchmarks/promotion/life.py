"""The simulated life of a registered model: a newcomer each night, decided on by the product's own functions."""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from scipy.special import ndtr

from components.registry.decisions import judge
from components.registry.decisions.record import Rule
from components.registry.decisions.standing import LATELY, Standing
from components.registry.decisions.tables import KEY, Table

Split = Literal["fixed", "growing", "fresh"]
EXAMPLES = 1000
GROWTH = 3  # new examples each night, of a growing split
# Two models differ by noise of this deviation on each example, so that their difference has a deviation of 1.
_NOISE = math.sqrt(0.5)

Draw = Callable[[np.random.Generator, int], np.ndarray]


def plain(rng: np.random.Generator, count: int) -> np.ndarray:
    """Returns the noise of a model on examples `[count]`: normal."""
    return rng.normal(0, _NOISE, size=count)


def failing(rng: np.random.Generator, count: int) -> np.ndarray:
    """Returns the noise of a model that fails badly on 1 % of the examples, and has the same mean."""
    return plain(rng, count) + 0.2 - 20 * (rng.random(count) < 0.01)


@dataclass
class Life:
    """A registered model, whose first version is the champion.

    Attributes:
        rule: What a decision is made by.
        split: What the test split is from night to night.
        rng: The source of all noise.
        noise: Draws the noise of newcomers.
        standing: What was tested before.
        champion: The champion.
        version: The newest version; a split that grows has grown with it.
    """

    rule: Rule
    split: Split
    rng: np.random.Generator
    noise: Draw = plain
    standing: Standing = field(default_factory=Standing)
    champion: int = 1
    version: int = 1
    _quality: dict[int, float] = field(default_factory=dict)
    _values: dict[int, np.ndarray] = field(default_factory=dict)
    _stored: dict[int, Table] = field(default_factory=dict)
    _lately: deque[np.ndarray] = field(default_factory=lambda: deque(maxlen=LATELY))

    def __post_init__(self) -> None:
        if self.standing.tested:
            self._lately.append(self._keys())

    def night(self, gain: float = 0.0) -> bool:
        """Trains a newcomer of a quality, decides, and returns whether any version was promoted."""
        self.version += 1
        self._quality[self.version] = gain
        keys = self._keys()
        whole = bool(self._lately) and judge.is_still({KEY: self._lately[0]}, keys)
        self._lately.append(keys)
        night = judge.decide(
            self.standing,
            self.version,
            self.version,
            self.champion,
            keys,
            self._scores,
            self._stored.__getitem__,
            self.rule,
            whole=whole,
        )
        self._stored[self.version] = night.table
        promoted = night.champion != self.champion
        self.champion, self.standing = night.champion, night.standing
        self._forget()
        return promoted

    def night_alone(self, gain: float = 0.0) -> bool:
        """The same with a test of each night alone, of the normal distribution, at a fixed level."""
        self.version += 1
        self._quality[self.version] = gain
        keys = self._keys()
        difference = self._scores(self.version) - self._scores(self.champion)
        p = ndtr(-difference.mean() / (difference.std(ddof=1) / math.sqrt(len(keys))))
        promoted = bool(p <= (1 - self.rule.confidence) / 2)
        self.champion = self.version if promoted else self.champion
        self._forget()
        return promoted

    def _keys(self) -> np.ndarray:
        if self.split == "fresh":
            return np.arange(EXAMPLES) + self.version * EXAMPLES
        return np.arange(EXAMPLES + (GROWTH * self.version if self.split == "growing" else 0))

    def _scores(self, version: int) -> np.ndarray:
        """Returns the values of a version on tonight's examples; on those it was scored on before, the same ones."""
        count = len(self._keys())
        known = self._values.get(version, np.array([])) if self.split != "fresh" else np.array([])
        if len(known) < count:
            draw = plain if version == 1 else self.noise
            new = self._quality.get(version, 0.0) + draw(self.rng, count - len(known))
            known = self._values[version] = np.concatenate([known, new])
        return known

    def _forget(self) -> None:
        """Drops what no later night needs."""
        challenger = self.standing.challenger
        versions = {self.champion} | (set() if challenger is None else {challenger.version})
        nights = set() if challenger is None else set(challenger.events)
        self._values = {version: values for version, values in self._values.items() if version in versions}
        self._stored = {night: table for night, table in self._stored.items() if night in nights}
