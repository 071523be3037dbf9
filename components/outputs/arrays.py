"""A .npz file: the raw values of each feature, and the nearest levels of features with levels."""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np

from components.binding import raw_values
from elboflow.artifacts.spec import FeatureSpec

SUFFIX = ".npz"


def fits(specs: Mapping[str, FeatureSpec]) -> bool:
    """Returns True: the format can store all features."""
    return True


def content(specs: Mapping[str, FeatureSpec], sets: Mapping[str, Mapping[str, np.ndarray]]) -> bytes:
    """Returns the bytes of the archive."""
    arrays: dict[str, Any] = {}
    for name, (feature, values) in named(sets).items():
        spec = specs[feature]
        arrays[name] = values.astype(str) if values.dtype == object else values
        if values.dtype.kind == "f" and spec.levels is not None:
            code = "code" if len(specs) == 1 else f"{feature}_code"
            prefix = f"{name}_" if name not in specs else ""
            arrays[prefix + code] = raw_values.stored(feature, spec, values)[feature]
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **arrays)
    return file.getvalue()


def named(sets: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, tuple[str, np.ndarray]]:
    """Returns the feature and the values of each column, by column name.

    The column name is SET_FEATURE, without SET for the unnamed set, and SET alone if the set has only one feature.
    """
    return {
        (f"{prefix}_{name}" if prefix and len(columns) > 1 else prefix or name): (name, values)
        for prefix, columns in sets.items()
        for name, values in columns.items()
    }
