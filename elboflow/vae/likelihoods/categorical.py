"""A categorical distribution over the levels of each value: the decoder outputs a logit for each level."""

from typing import TYPE_CHECKING, Literal

from elboflow.vae import ops
from elboflow.vae.likelihoods._levels import SMALLEST_PROBABILITY, LevelsLikelihood
from elboflow.vae.spec import indicators
from elboflow.vae.terms import Tensor

if TYPE_CHECKING:
    import numpy as np


class Categorical(LevelsLikelihood):
    """A categorical distribution over the levels of each pixel, with one logit per level."""

    kind: Literal["categorical"] = "categorical"

    @property
    def parameters(self) -> int:
        return self.levels

    def log_prob(self, x: Tensor, outputs: Tensor) -> Tensor:
        logits = self._by_level(outputs)
        codes = ops.cast(ops.round(x * (self.levels - 1)), "int32")
        chosen = indicators(codes, ops.arange(self.levels, dtype="int32"))
        return self.summed(ops.sum(chosen * logits, axis=-1) - ops.logsumexp(logits, axis=-1))

    def expected(self, outputs: Tensor) -> Tensor:
        weighted = self._probabilities(outputs) * ops.arange(self.levels, dtype="float32")
        return ops.sum(weighted, axis=-1) / (self.levels - 1)

    def output_bias(self, codes: "np.ndarray") -> "np.ndarray":
        import numpy as np

        values = codes.reshape(len(codes), -1)
        places = np.arange(values.shape[1]) * self.levels
        counts = np.bincount((values + places).ravel(), minlength=values.shape[1] * self.levels)
        frequencies = counts.reshape(*codes.shape[1:-1], codes.shape[-1] * self.levels) / len(codes)
        return np.log(np.maximum(frequencies, SMALLEST_PROBABILITY / self.levels))

    def _probabilities(self, outputs: Tensor) -> Tensor:
        # Not ops.softmax: outside XLA, TensorFlow's version fails with more than five dimensions.
        logits = self._by_level(outputs)
        return ops.exp(logits - ops.logsumexp(logits, axis=-1, keepdims=True))

    def _by_level(self, outputs: Tensor) -> Tensor:
        shape = ops.shape(outputs)
        return ops.reshape(outputs, (*shape[:-1], outputs.shape[-1] // self.levels, self.levels))
