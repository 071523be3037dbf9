"""The base class of likelihoods over arrays of levels, such as images, which factorise over the values."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING

from elboflow.artifacts.spec import Shape
from elboflow.vae import ops
from elboflow.vae.likelihoods._single import SingleLikelihood
from elboflow.vae.terms import Batch, Tensor

if TYPE_CHECKING:
    import numpy as np

# A smaller scale is finer than the quantisation of 8-bit data (uniform over 1/256 of the range: deviation e^-6.8).
SMALLEST_LOG_SCALE = -7.0
# With an initial probability of 0, as for a pixel that is always black, training could not change the bias.
SMALLEST_PROBABILITY = 0.001  # as in the program of Burda et al., 2016


class LevelsLikelihood(SingleLikelihood):
    """p(x|z) over arrays `[…, channels]` of levels, scaled to [0, 1]: the values are independent given z."""

    @property
    @abstractmethod
    def parameters(self) -> int:
        """The number of decoder outputs for each value of x."""

    @property
    def levels(self) -> int:
        """The number of levels, 0 to `levels - 1`."""
        assert self.spec.levels is not None
        return self.spec.levels

    def unfit(self) -> str | None:
        spec = self.spec
        return None if spec.levels is not None and spec.shape and not spec.ragged else "arrays of levels, as images are"

    @property
    def outcome_space(self) -> str:
        return "codes"

    def dimensions(self, features: "Mapping[str, np.ndarray]") -> "np.ndarray":
        import numpy as np

        return np.full(len(features[self.feature]), self.spec.size)

    @property
    def inputs(self) -> Shape:
        return self.spec.shape

    @property
    def outputs(self) -> Shape:
        *places, channels = self.spec.shape
        return *places, channels * self.parameters

    def prepare(self, batch: Batch, uniform: Tensor | None) -> Tensor:
        return self.intensities(batch[self.feature], uniform)

    def intensities(self, codes: Tensor, uniform: Tensor | None) -> Tensor:
        """Converts codes to x in [0, 1]: scaled, binarised or dequantised."""
        return ops.cast(codes, "float32") / (self.levels - 1)

    def mean(self, outputs: Tensor) -> Batch:
        return {self.feature: self.expected(outputs)}

    @abstractmethod
    def expected(self, outputs: Tensor) -> Tensor:
        """Returns the mean or the location as intensities, clipped to [0, 1], `[batch, *shape]`."""

    def bias(self, features: "Mapping[str, np.ndarray]") -> "np.ndarray":
        return self.output_bias(features[self.feature])

    def shared_bias(self, features: "Mapping[str, np.ndarray]") -> "np.ndarray":
        # From the mean of the values over all positions, not the mean of the positions' logits.
        return self.output_bias(features[self.feature].reshape(-1, self.spec.shape[-1]))

    @abstractmethod
    def output_bias(self, codes: "np.ndarray") -> "np.ndarray":
        """Returns decoder outputs `[…, channels * parameters]` for the mean of codes `[examples, …, channels]`."""

    def summed(self, by_value: Tensor) -> Tensor:
        """Sums `[…, *shape]` over the values of an example."""
        return ops.sum(by_value, axis=tuple(range(-len(self.spec.shape), 0)))
