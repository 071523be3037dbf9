"""The weight of each train example in the loss, from `training.weights`, `training.balance`, or both.

The mean weight over the split is 1, so that a learning rate has the same effect with and without weights. The mean is
computed from the manifest, without reading examples.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from elboflow.artifacts.spec import FeatureSpec
from elboflow.settings import RequestError
from elboflow.vae.config import Balance, TrainingConfig
from preprocessing.manifest import Manifest


@dataclass(frozen=True)
class Weighting:
    """The weight of an example: number · factor of the class / mean.

    Attributes:
        number: The name of a number feature, or None.
        category: The name of a category feature, or None.
        factors: The factor of each class of `category`.
        mean: The mean of number · factor over the train split.
    """

    number: str | None
    category: str | None
    factors: Mapping[int, float]
    mean: float

    def of(self, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """Returns the weights of examples from their features, float32 [examples]."""
        weights = np.full(len(arrays["key"]), 1 / self.mean)
        if self.number is not None:
            weights *= arrays[self.number]
        if self.category is not None:
            classes = sorted(self.factors)
            weights *= np.array([self.factors[name] for name in classes])[
                np.searchsorted(classes, arrays[self.category])
            ]
        return weights.astype(np.float32)


def weighting(manifest: Manifest, training: TrainingConfig) -> Weighting | None:
    """Returns the weighting of a training's settings, or None without weights.

    Raises:
        RequestError: The dataset has no such feature, or its values cannot be weights.
    """
    number = None if training.weights is None else _number(manifest, training.weights)
    if training.balance is None:
        return None if number is None else Weighting(training.weights, None, {}, number.facts["mean"])
    category = training.balance.feature
    counts = _counts(manifest, training.balance)
    total = sum(counts.values())
    factors = {name: (total / (len(counts) * n)) ** training.balance.strength for name, n in counts.items()}
    by_class = dict.fromkeys(counts, 1.0)
    if training.weights is not None:
        by_class = manifest.class_means[training.weights][category]
    mean = sum(n * factors[name] * by_class[name] for name, n in counts.items()) / total
    return Weighting(training.weights, category, factors, mean)


def _number(manifest: Manifest, name: str) -> FeatureSpec:
    """Returns the spec of a number feature whose values can be weights.

    Raises:
        RequestError: There is no such feature, or its values cannot be weights.
    """
    feature = manifest.features.get(name)
    if feature is None or feature.role != "amount" or not {"mean", "min", "max"} <= feature.facts.keys():
        raise _missing_feature("training.weights", name, "number", manifest)
    lowest, highest = feature.facts["min"], feature.facts["max"]
    if lowest < 0 or highest == 0:
        raise RequestError(
            f"training.weights is {name!r}, whose values in the train split run from {lowest:g} to {highest:g}; "
            "a weight is 0 or more, and not all of them are 0"
        )
    return feature


def _counts(manifest: Manifest, balance: Balance) -> dict[int, int]:
    """Returns the number of train examples of each class of a category.

    Raises:
        RequestError: There is no such feature.
    """
    feature = manifest.features.get(balance.feature)
    kept = manifest.summaries.get(balance.feature, {}).get("train", {})
    if feature is None or feature.role != "class" or "counts" not in kept:
        raise _missing_feature("training.balance.feature", balance.feature, "category", manifest)
    return manifest.class_counts(balance.feature, "train")


def _missing_feature(key: str, name: str, kind: str, manifest: Manifest) -> RequestError:
    found = ", ".join(f"{name!r} is of kind {feature.kind}" for name, feature in manifest.features.items())
    return RequestError(f"{key} is {name!r}, which is no feature of kind {kind} of the dataset; there {found}")
