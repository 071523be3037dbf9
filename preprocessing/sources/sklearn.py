"""Data sets inside the scikit-learn package: 8×8 images of handwritten digits, and small tables."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from pydantic import Field

from elboflow.settings import RequestError
from preprocessing.features import Feature
from preprocessing.raw import Batch, Raw, Unit
from preprocessing.raw.arrays import batch
from preprocessing.sources import Source, require_offered


class SklearnSource(Source):
    """A data set inside the scikit-learn package, without a download.

    In feature names of a table `_` replaces other characters of a column name: `alcalinity_of_ash`, `sepal_length_cm`.
    The feature `label` is the class; `diabetes` has the number `target` instead.
    """

    kind: Literal["sklearn"] = "sklearn"
    dataset: Literal["digits", "wine", "breast_cancer", "iris", "diabetes"] = Field(
        "digits", description="digits are images with labels; the others are tables, in which a feature is a column"
    )

    @property
    def default_features(self) -> dict[str, Feature]:
        if self.dataset != "digits":
            return {}
        image = Feature.parse({"kind": "image", "shape": [8, 8, 1], "range": [0, 16]})
        return {"image": image, "label": Feature.parse("category")}

    def require(self, features: Mapping[str, Feature]) -> None:
        if self.dataset == "digits":
            require_offered(self, features)
        elif not features:
            raise ValueError(f"features: {self.dataset} is a table; give the columns that are to be features")

    def open(self, features: Mapping[str, Feature]) -> "Embedded":
        found = Embedded(self.dataset, tuple(features))
        if self.dataset != "digits":
            found.require_columns()
        return found


@dataclass(frozen=True)
class Embedded(Raw):
    """A data set inside the scikit-learn package."""

    dataset: str
    features: tuple[str, ...]

    def require_columns(self) -> None:
        """Raises a RequestError if a feature is no column of the table."""
        offered = _loaded(self.dataset)
        if absent := [name for name in self.features if name not in offered]:
            raise RequestError(
                f"data.features: scikit-learn's {self.dataset} have no column {absent[0]!r}; they have "
                f"{', '.join(offered)}"
            )

    def fingerprint(self) -> str:
        digest = hashlib.sha256()
        for feature, array in self._arrays().items():
            digest.update(f"{feature} {array.dtype} {array.shape} ".encode() + np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def describe(self) -> str:
        return f"scikit-learn's {self.dataset}"

    def paths(self) -> list[str]:
        return []

    def units(self) -> list[Unit]:
        arrays = self._arrays().values()
        count = len(next(iter(arrays)))
        return [Unit("main", (), sum(array.nbytes for array in arrays), count)]

    def read(self, unit: Unit) -> Iterator[Batch]:
        arrays = self._arrays()
        yield batch(arrays, dict.fromkeys(arrays, self.describe()), 0)

    def _arrays(self) -> dict[str, np.ndarray]:
        return {name: array for name, array in _loaded(self.dataset).items() if name in self.features}


@cache
def _loaded(dataset: str) -> dict[str, np.ndarray]:
    from sklearn import datasets  # scikit-learn takes a second to import

    bunch = getattr(datasets, f"load_{dataset}")()
    if dataset == "digits":
        return {"image": bunch.images, "label": bunch.target}
    columns = {_feature_name(name): bunch.data[:, number] for number, name in enumerate(bunch.feature_names)}
    return {**columns, "target" if dataset == "diabetes" else "label": bunch.target}


def _feature_name(column: str) -> str:
    """Returns the feature name of a column: `sepal_length_cm` for `sepal length (cm)`."""
    words = "".join(sign if sign.isalnum() else " " for sign in column.lower()).split()
    return "_".join(words)
