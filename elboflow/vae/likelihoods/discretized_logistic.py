"""A logistic distribution integrated over levels; outer levels get the tails (Salimans et al., 2017, section 2.1)."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from elboflow.vae import ops
from elboflow.vae.likelihoods._levels import SMALLEST_LOG_SCALE, LevelsLikelihood
from elboflow.vae.terms import Tensor

if TYPE_CHECKING:
    import numpy as np


class DiscretizedLogistic(LevelsLikelihood):
    """A logistic distribution integrated over each level of each pixel.

    The decoder outputs location and log-scale in units of the full range. With the standardised upper and lower edges a
    and b of a level, log(σ(a) − σ(b)) = log σ(a) + log σ(−b) + log(1 − e^(b−a)), which avoids cancellation.
    """

    kind: Literal["discretized_logistic"] = "discretized_logistic"

    @property
    def parameters(self) -> int:
        return 2

    def log_prob(self, x: Tensor, outputs: Tensor) -> Tensor:
        location, log_scale = self._location_and_log_scale(outputs)
        precision = ops.exp(-log_scale)
        half = 0.5 / (self.levels - 1)
        upper = (x - location + half) * precision
        lower = (x - location - half) * precision
        width = 2 * half * precision
        first, last = x < half, x > 1 - half
        inside = ops.where(ops.logical_or(first, last), 0.0, ops.log(-ops.expm1(-width)))
        return self.summed(
            inside - ops.where(last, 0.0, ops.softplus(-upper)) - ops.where(first, 0.0, ops.softplus(lower))
        )

    def expected(self, outputs: Tensor) -> Tensor:
        return ops.clip(self._location_and_log_scale(outputs)[0], 0.0, 1.0)

    def output_bias(self, codes: "np.ndarray") -> "np.ndarray":
        import numpy as np

        location = codes.mean(axis=0, dtype=np.float64) / (self.levels - 1)
        return np.concatenate([location, np.zeros_like(location)], axis=-1)

    def independent(self, features: "Mapping[str, np.ndarray]") -> "np.ndarray":
        import numpy as np

        codes = features[self.feature]
        outputs = self.output_bias(codes)
        # A pixel that is constant in training is not sure to be so: its deviation is that of uniform noise on a code.
        deviation = np.sqrt(codes.var(axis=0, dtype=np.float64) + 1 / 12) / (self.levels - 1)
        outputs[..., outputs.shape[-1] // 2 :] = np.log(deviation * math.sqrt(3) / math.pi)
        return outputs

    def _location_and_log_scale(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        location, log_scale = ops.split(outputs, 2, axis=-1)
        return location, ops.maximum(log_scale, SMALLEST_LOG_SCALE)
