"""The input of a model: features by name, and the key of each example."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from elboflow.artifacts.spec import LENGTH
from elboflow.settings import WorkError
from elboflow.vae import spec as specs_
from elboflow.vae.terms import WEIGHT, Specs


@dataclass(frozen=True)
class Examples:
    """Examples in memory.

    Attributes:
        features: Values by name, `[examples, …]`. A ragged feature is padded with zeros; its lengths are `NAME.length`.
        keys: The key of each example, int64 `[examples]`. The random numbers of evaluation are a function of the key.
        weights: The weight of each example in the training loss, float32 `[examples]`, with mean 1 over the split; None
            for equal weights. Reported bounds are never weighted.
    """

    features: Mapping[str, np.ndarray]
    keys: np.ndarray
    weights: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.keys)

    def head(self, count: int) -> "Examples":
        """Returns the first `count` examples."""
        return self[:count]

    def __getitem__(self, rows: slice | np.ndarray) -> "Examples":
        """Returns the examples in some rows."""
        return Examples(
            {name: values[rows] for name, values in self.features.items()},
            self.keys[rows],
            None if self.weights is None else self.weights[rows],
        )

    def only(self, names: Sequence[str]) -> "Examples":
        """Returns the examples with only these features."""
        return Examples({name: self.features[name] for name in names}, self.keys, self.weights)

    @staticmethod
    def joined(parts: "Sequence[Examples]") -> "Examples":
        """Concatenates parts with the same features.

        The arrays are contiguous and writable, as frameworks expect them; a single part is copied only if necessary.
        """
        weights = [part.weights for part in parts if part.weights is not None]
        return Examples(
            {name: _joined([part.features[name] for part in parts]) for name in parts[0].features},
            _joined([part.keys for part in parts]),
            _joined(weights) if weights else None,
        )

    def padded(self, specs: Specs) -> "Examples":
        """Returns only the features of a model, with ragged features padded to the maximum length of the model."""
        features = {}
        for name in specs_.names(specs):
            values = self.features[name]
            if name in specs and specs[name].ragged and values.shape[1] < specs[name].shape[0]:
                missing = specs[name].shape[0] - values.shape[1]
                values = np.pad(values, [(0, 0), (0, missing), *[(0, 0)] * (values.ndim - 2)])
            features[name] = values
        return Examples(features, self.keys, self.weights)

    def batch(self, capacity: int) -> dict[str, np.ndarray]:
        """Returns features and weights by name, padded with zeros to a fixed capacity, so that a step compiles once."""
        weights = np.ones(len(self), np.float32) if self.weights is None else self.weights
        missing = capacity - len(self)
        arrays = {**self.features, WEIGHT: weights}
        if not missing:
            return arrays
        return {name: np.pad(values, [(0, missing), *[(0, 0)] * (values.ndim - 1)]) for name, values in arrays.items()}

    def check(self, specs: Specs, split: str) -> None:
        """Raises a WorkError if there are no examples, or a feature is missing or does not fit its spec."""
        if not len(self):
            raise WorkError(f"the {split} split is empty; data.splits must leave it at least one example")
        for name, spec in specs.items():
            if name not in self.features:
                raise WorkError(f"the {split} split holds no feature '{name}'; the model takes {', '.join(specs)}")
            lengths = self.features.get(name + LENGTH)
            if found := specs_.problem(name, spec, self.features[name], lengths):
                raise WorkError(f"the {split} split holds {found}")


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    if len(parts) == 1:
        return np.require(parts[0], requirements=["C", "W"])
    longest = max((part.shape[1] for part in parts if part.ndim > 1), default=0)
    if any(part.ndim > 1 and part.shape[1] < longest for part in parts):  # ragged, each part padded to its own longest
        parts = [np.pad(part, [(0, 0), (0, longest - part.shape[1]), *[(0, 0)] * (part.ndim - 2)]) for part in parts]
    return np.concatenate(parts)


class Source(Protocol):
    """A split that is read shard by shard, in any order."""

    @property
    def counts(self) -> Sequence[int]:
        """The number of examples of each shard, in the order of the dataset."""

    def read(self, shard: int) -> Examples:
        """Reads a shard. Any thread may call it.

        Raises:
            WorkError: The shard is missing or damaged.
        """


@dataclass(frozen=True)
class InMemory:
    """Examples in memory as a source with one shard."""

    examples: Examples

    @property
    def counts(self) -> Sequence[int]:
        return (len(self.examples),)

    def read(self, shard: int) -> Examples:
        return self.examples
