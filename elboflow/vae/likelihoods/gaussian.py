"""A density over uniformly dequantised codes, code + u in [0, levels) (Theis et al., 2016)."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import Field, PositiveFloat

from elboflow.artifacts.spec import Shape
from elboflow.vae import ops
from elboflow.vae.distributions import LOG_TWO_PI
from elboflow.vae.likelihoods._levels import SMALLEST_LOG_SCALE, LevelsLikelihood
from elboflow.vae.terms import Tensor

if TYPE_CHECKING:
    import numpy as np


class Gaussian(LevelsLikelihood):
    """Independent Gaussians on the uniformly dequantised intensities: a density, comparable in bits per dimension.

    The decoder outputs the mean, and the log-scale if the scale is learned, both in units of the full range. The
    density is per level, so that the expectation of its logarithm over u is a lower bound on the log-probability of the
    code.
    """

    kind: Literal["gaussian"] = "gaussian"
    scale: Literal["learned"] | PositiveFloat = Field(
        "learned",
        description="standard deviation in units of the full range, or `learned`: an output of the decoder per pixel",
    )

    @property
    def parameters(self) -> int:
        return 2 if self.scale == "learned" else 1

    @property
    def outcome_space(self) -> str:
        return "dequantised intensities, a density"

    @property
    def noise(self) -> Shape | None:
        return self.spec.shape

    def intensities(self, codes: Tensor, uniform: Tensor | None) -> Tensor:
        return (ops.cast(codes, "float32") + uniform) / self.levels

    def log_prob(self, x: Tensor, outputs: Tensor) -> Tensor:
        mean, log_scale = self._mean_and_log_scale(outputs)
        squared = ops.square((x - mean) * ops.exp(-log_scale))
        return self.summed(-0.5 * (squared + LOG_TWO_PI) - log_scale - math.log(self.levels))

    def expected(self, outputs: Tensor) -> Tensor:
        mean, _ = self._mean_and_log_scale(outputs)
        return ops.clip((mean * self.levels - 0.5) / (self.levels - 1), 0.0, 1.0)

    def output_bias(self, codes: "np.ndarray") -> "np.ndarray":
        import numpy as np

        mean = (codes.mean(axis=0, dtype=np.float64) + 0.5) / self.levels
        return np.concatenate([mean, np.zeros_like(mean)][: self.parameters], axis=-1)

    def independent(self, features: "Mapping[str, np.ndarray]") -> "np.ndarray":
        import numpy as np

        codes = features[self.feature]
        outputs = self.output_bias(codes)
        if self.scale == "learned":
            variance = codes.var(axis=0, dtype=np.float64) + 1 / 12  # of the uniform noise on each code
            outputs[..., outputs.shape[-1] // 2 :] = np.log(np.sqrt(variance) / self.levels)
        return outputs

    def _mean_and_log_scale(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        if self.scale != "learned":
            return outputs, ops.full((), math.log(self.scale), dtype="float32") + ops.zeros_like(outputs)
        mean, log_scale = ops.split(outputs, 2, axis=-1)
        return mean, ops.maximum(log_scale, SMALLEST_LOG_SCALE)
