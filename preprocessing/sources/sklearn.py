"""Images that scikit-learn carries inside itself, such as its 1,797 handwritten digits of 8×8 pixels."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np

from elboflow.settings import RequestError
from preprocessing.sources.raw import Batch, Unit


@cache
def _digits() -> dict[str, np.ndarray]:
    from sklearn.datasets import load_digits  # scikit-learn takes a second to import

    bunch = load_digits()
    return {"image": bunch.images, "label": bunch.target}


@dataclass(frozen=True)
class Embedded:
    """A data set inside scikit-learn."""

    dataset: str
    features: tuple[str, ...]

    def require_held_out(self) -> None:
        raise RequestError(f"scikit-learn's {self.dataset} have no held-out part")

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
        return [Unit(held_out=False, first=0, count=len(_digits()["image"]))]

    def read(self, unit: Unit) -> Iterator[Batch]:
        arrays = self._arrays()
        yield Batch(arrays, dict.fromkeys(arrays, self.describe()), unit.first)

    def _arrays(self) -> dict[str, np.ndarray]:
        return {feature: array for feature, array in _digits().items() if feature in self.features}
