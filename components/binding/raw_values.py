"""Conversion between raw values, as users have them, and stored values, which a model reads.

Raw values are images in the range of the data, numbers, numbers or names of classes, and texts.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from elboflow.artifacts.spec import FeatureSpec
from elboflow.settings import RequestError, table
from elboflow.vae.data import Examples
from elboflow.vae.terms import Specs
from preprocessing import splits
from preprocessing.features import Feature

Columns = Mapping[str, Any]
"""Raw values of examples, `[examples, …]` by feature."""


def examples(specs: Specs, columns: Columns) -> Examples:
    """Returns raw values as examples.

    Their keys are computed as in preprocessing with the default `data.identity`: from the features that identify an
    example, or from all of them if none does. They differ from those of the dataset if its settings name other
    features, or if the dataset has identifying features that the model does not read.

    Args:
        specs: The specs of the features that a model reads.
        columns: The raw values of each feature.

    Raises:
        RequestError: A feature is missing, or its values do not fit the model. The message never contains all values.
    """
    if missing := [name for name in specs if name not in columns]:
        raise RequestError(f"the model takes {', '.join(specs)}; there is no {missing[0]!r}")
    features: dict[str, np.ndarray] = {}
    for name, spec in specs.items():
        features |= stored(name, spec, columns[name])
    counts = {name: len(features[name]) for name in specs}
    if len(set(counts.values())) > 1:
        raise RequestError(f"the features have different numbers of examples: {counts}")
    kinds = {name: _kind(name, spec) for name, spec in sorted(specs.items())}
    identifying = [name for name, kind in kinds.items() if kind.identifies] or list(kinds)
    identities = [kinds[name].identity_of(name, specs[name], columns[name], features) for name in identifying]
    return Examples(features, splits.keys(identities))


def stored(name: str, spec: FeatureSpec, raw: Any) -> dict[str, np.ndarray]:
    """Converts raw values of a feature to stored values, with `NAME.length` for a ragged feature.

    Raises:
        RequestError: The values do not fit the feature, or the package of the feature's kind is not installed.
    """
    return _kind(name, spec).stored(name, spec, raw)


def raw(name: str, spec: FeatureSpec, expected: Mapping[str, np.ndarray]) -> np.ndarray:
    """Converts a model's values of a feature to raw values, `[examples, …]`; texts have dtype object.

    The model's values are expected or sampled ones.
    """
    return _kind(name, spec).raw(name, spec, expected)


def raw_of(name: str, spec: FeatureSpec, examples: Examples) -> np.ndarray:
    """Returns a feature of examples as raw values, `[examples, …]`."""
    kind = _kind(name, spec)
    return kind.raw(name, spec, kind.expected(name, spec, examples.features))


def _kind(name: str, spec: FeatureSpec) -> type[Feature]:
    try:
        return table.find(Feature, spec.kind)
    except LookupError:
        raise RequestError(
            f"{name!r} is a feature of kind {spec.kind}, of a package that is not installed here; those that are here: "
            f"{', '.join(table.names(Feature))}"
        ) from None
