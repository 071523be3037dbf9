"""A Gaussian over each number, with its own mean and scale."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from elboflow.artifacts.spec import Shape
from elboflow.vae import ops
from elboflow.vae import spec as specs_
from elboflow.vae.distributions import LOG_TWO_PI, normal_from_uniform
from elboflow.vae.likelihoods._single import SingleLikelihood
from elboflow.vae.terms import Batch, Tensor

if TYPE_CHECKING:
    import numpy as np

# The density of a column that is constant within a cluster would otherwise grow to infinity.
SMALLEST_LOG_SCALE = -4.0


class Normal(SingleLikelihood):
    """Independent Gaussians on numbers: a density in the units of the data.

    The decoder outputs mean and log-scale of the standardised number. The density is divided by the standard deviation,
    which makes it a density of the number itself.
    """

    kind: Literal["normal"] = "normal"

    def unfit(self) -> str | None:
        return "numbers" if self.spec.levels is not None or self.spec.ragged else None

    @property
    def outcome_space(self) -> str:
        return "numbers, a density"

    @property
    def inputs(self) -> Shape:
        return (self.spec.size,)

    @property
    def outputs(self) -> Shape:
        return (2 * self.spec.size,)

    def prepare(self, batch: Batch, uniform: Tensor | None) -> Tensor:
        return specs_.as_vector(self.spec, batch[self.feature])

    def log_prob(self, x: Tensor, outputs: Tensor) -> Tensor:
        mean, log_scale = self._mean_and_log_scale(outputs)
        _, deviation = specs_.moments(self.spec)
        squared = ops.square((x - mean) * ops.exp(-log_scale))
        return ops.sum(-0.5 * (squared + LOG_TWO_PI) - log_scale - math.log(deviation), axis=-1)

    def mean(self, outputs: Tensor) -> Batch:
        return self._in_units_of_the_data(self._mean_and_log_scale(outputs)[0])

    @property
    def sampling(self) -> Shape:
        return (self.spec.size,)

    def sample(self, outputs: Tensor, uniform: Tensor | None) -> Batch:
        assert uniform is not None
        mean, log_scale = self._mean_and_log_scale(outputs)
        return self._in_units_of_the_data(mean + ops.exp(log_scale) * normal_from_uniform(uniform))

    def bias(self, features: "Mapping[str, np.ndarray]") -> "np.ndarray":
        import numpy as np

        mean, deviation = specs_.moments(self.spec)
        located = (features[self.feature].reshape(-1, self.spec.size).mean(axis=0, dtype=np.float64) - mean) / deviation
        return np.concatenate([located, np.zeros_like(located)])

    def _mean_and_log_scale(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_scale = ops.split(outputs, 2, axis=-1)
        return mean, ops.maximum(log_scale, SMALLEST_LOG_SCALE)

    def _in_units_of_the_data(self, standardised: Tensor) -> Batch:
        mean, deviation = specs_.moments(self.spec)
        shape = (*ops.shape(standardised)[:-1], *self.spec.shape)
        return {self.feature: ops.reshape(mean + deviation * standardised, shape)}
