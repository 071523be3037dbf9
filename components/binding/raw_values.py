"""Raw values, as people have them, and the values of a dataset, which a model reads: one into the other.

Raw are an image in the data's own range, a number, the number of a class or its name, a text.
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
"""Raw values of examples, by feature."""


def examples(specs: Specs, columns: Columns) -> Examples:
    """Returns raw values as examples.

    Their keys are those that preprocessing gives the same examples: of the features that identify, or of all of them if
    none does, in the order of their names. They differ where the dataset's settings name others (`data.identity`), or
    where the dataset has features that a key is made of and the model does not read.

    Args:
        specs: Of the features that a model reads.
        columns: `[examples, …]` each.

    Raises:
        RequestError: A feature is missing, or its values are not what the model takes. The message never holds them.
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
    """Returns raw values of a feature as a dataset has them, with the lengths of those that are ragged.

    Raises:
        RequestError: They are not what the model takes, or the package that the kind of feature is from is not here.
    """
    return _kind(name, spec).stored(name, spec, raw)


def raw(name: str, spec: FeatureSpec, expected: Mapping[str, np.ndarray]) -> np.ndarray:
    """Returns what a model expects of a feature as raw values, `[examples, …]`; a text as an object each."""
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
