"""A categorical distribution over classes: the decoder outputs a logit for each class."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from elboflow.artifacts.spec import Shape
from elboflow.vae import ops
from elboflow.vae import spec as specs_
from elboflow.vae.distributions import class_from_uniform
from elboflow.vae.likelihoods._single import SingleLikelihood
from elboflow.vae.terms import Batch, Tensor

if TYPE_CHECKING:
    import numpy as np


class Category(SingleLikelihood):
    """A categorical distribution over the classes of a feature, with one logit per class."""

    kind: Literal["category"] = "category"

    def unfit(self) -> str | None:
        return "classes" if self.spec.levels is None or self.spec.shape or self.spec.ragged else None

    @property
    def outcome_space(self) -> str:
        return "classes"

    @property
    def classes(self) -> int:
        """The number of classes."""
        assert self.spec.levels is not None
        return self.spec.levels

    @property
    def inputs(self) -> Shape:
        return (self.classes,)

    @property
    def outputs(self) -> Shape:
        return (self.classes,)

    def prepare(self, batch: Batch, uniform: Tensor | None) -> Tensor:
        return specs_.one_hot(self.spec, batch[self.feature])

    def log_prob(self, x: Tensor, outputs: Tensor) -> Tensor:
        return ops.sum(x * outputs, axis=-1) - ops.logsumexp(outputs, axis=-1)

    def mean(self, outputs: Tensor) -> Batch:
        return {self.feature: ops.cast(ops.argmax(outputs, axis=-1), "int32")}

    @property
    def sampling(self) -> Shape:
        return ()

    def sample(self, outputs: Tensor, uniform: Tensor | None) -> Batch:
        assert uniform is not None
        return {self.feature: class_from_uniform(outputs, uniform)}

    def bias(self, features: "Mapping[str, np.ndarray]") -> "np.ndarray":
        import numpy as np

        counts = np.bincount(features[self.feature], minlength=self.classes)
        return np.log((counts + 1) / (counts.sum() + len(counts)))  # Laplace's rule: no class starts with probability 0
