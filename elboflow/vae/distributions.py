"""Priors, posteriors and likelihoods: exact densities in nats, written once for every backend in `keras.ops`.

Shapes: `z` is `[samples, batch, latent]`; `x` is `[batch, height, width, channels]` with values in [0, 1] as made by
`Likelihood.prepare`; a decoder's `outputs` are `[samples, batch, height, width, channels * parameters]`.
"""

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from keras import ops

from elboflow.vae import config
from elboflow.vae.data import ImageSpec

Tensor = Any  # a tensor of the backend that runs; Keras has no common type for it

LOG_TWO_PI = math.log(2 * math.pi)
# A scale below this is finer than the quantisation of 8-bit data (1/256 of the range, uniform: deviation e^-6.8).
SMALLEST_LOG_SCALE = -7.0
# An initial bias gives no value a probability of zero: a pixel that is always black has one that training can move.
SMALLEST_PROBABILITY = 0.001  # as in the program of Burda et al., 2016


@dataclass(frozen=True)
class DiagonalGaussian:
    """N(mean, diag(exp(log_variance))) over the latent, one per example: `[batch, latent]` each."""

    mean: Tensor
    log_variance: Tensor

    def sample(self, noise: Tensor) -> Tensor:
        """Turns standard normal `noise` `[samples, batch, latent]` into samples of z (Kingma and Welling, 2014)."""
        return self.mean + ops.exp(0.5 * self.log_variance) * noise

    def log_prob(self, z: Tensor) -> Tensor:
        """Returns log q(z|x), `[samples, batch]`."""
        squared = ops.square(z - self.mean) * ops.exp(-self.log_variance)
        return -0.5 * ops.sum(squared + self.log_variance + LOG_TWO_PI, axis=-1)


@dataclass(frozen=True)
class StandardNormal:
    """N(0, I) over the latent."""

    def log_prob(self, z: Tensor) -> Tensor:
        """Returns log p(z), `[samples, batch]`."""
        return -0.5 * ops.sum(ops.square(z) + LOG_TWO_PI, axis=-1)

    def kl(self, posterior: DiagonalGaussian) -> Tensor:
        """Returns KL(q(z|x) ‖ p(z)) by latent unit, `[batch, latent]`, in closed form."""
        variance = ops.exp(posterior.log_variance)
        return 0.5 * (variance + ops.square(posterior.mean) - 1.0 - posterior.log_variance)


class Likelihood(Protocol):
    """p(x|z) over images, factorised over their values."""

    @property
    def parameters(self) -> int:
        """Outputs of the decoder for each value of x."""

    @property
    def is_random(self) -> bool:
        """Whether `prepare` makes use of `uniform`."""

    def prepare(self, codes: Tensor, uniform: Tensor) -> Tensor:
        """Turns codes into the x that the likelihood models; `uniform` in [0, 1) is its randomness, if it has any."""

    def log_prob(self, x: Tensor, outputs: Tensor) -> Tensor:
        """Returns log p(x|z) summed over the values of x, `[samples, batch]`."""

    def mean(self, outputs: Tensor) -> Tensor:
        """Returns the mean, or the location, as intensities cut to [0, 1], `[..., height, width, channels]`."""

    def bias(self, codes: np.ndarray) -> np.ndarray:
        """Returns outputs with the mean of training examples; scales stay at the full range, to be narrowed.

        Args:
            codes: `[examples, ..., channels]`; the outputs are `[..., channels * parameters]`.
        """


def likelihood(settings: config.Likelihood, spec: ImageSpec) -> Likelihood:
    """Returns the likelihood that the settings name, for images of `spec`."""
    match settings:
        case config.Bernoulli():
            return Bernoulli(spec.levels, settings.binarize)
        case config.Gaussian():
            return Gaussian(spec.levels, None if settings.scale == "learned" else settings.scale)
        case config.Categorical():
            return Categorical(spec.levels)
        case config.DiscretizedLogistic():
            return DiscretizedLogistic(spec.levels)


@dataclass(frozen=True)
class Bernoulli:
    """Binary values; the decoder gives a logit each."""

    levels: int
    binarize: str
    parameters: int = 1

    @property
    def is_random(self) -> bool:
        return self.binarize == "dynamic"

    def prepare(self, codes: Tensor, uniform: Tensor) -> Tensor:
        intensity = ops.cast(codes, "float32") / (self.levels - 1)
        threshold = uniform if self.binarize == "dynamic" else 0.5 - 1e-6
        return ops.cast(intensity > threshold, "float32")

    def log_prob(self, x: Tensor, outputs: Tensor) -> Tensor:
        return _summed(x * outputs - ops.softplus(outputs))

    def mean(self, outputs: Tensor) -> Tensor:
        return ops.sigmoid(outputs)

    def bias(self, codes: np.ndarray) -> np.ndarray:
        middle = (self.levels - 1) / 2
        bits = codes / (self.levels - 1) if self.binarize == "dynamic" else codes >= middle
        probability = np.clip(bits.mean(axis=0, dtype=np.float64), SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)
        return np.log(probability / (1 - probability))


@dataclass(frozen=True)
class Gaussian:
    """A density over uniformly dequantised codes, code + u in [0, levels) (Theis et al., 2016).

    The decoder gives the mean, and where the scale is learned its logarithm, both in units of the full range. The
    density is taken per level, so that its expectation over u is a lower bound on a log-probability of the code.
    """

    levels: int
    scale: float | None
    is_random: bool = True

    @property
    def parameters(self) -> int:
        return 2 if self.scale is None else 1

    def prepare(self, codes: Tensor, uniform: Tensor) -> Tensor:
        return (ops.cast(codes, "float32") + uniform) / self.levels

    def log_prob(self, x: Tensor, outputs: Tensor) -> Tensor:
        mean, log_scale = self._mean_and_log_scale(outputs)
        squared = ops.square((x - mean) * ops.exp(-log_scale))
        return _summed(-0.5 * (squared + LOG_TWO_PI) - log_scale - math.log(self.levels))

    def mean(self, outputs: Tensor) -> Tensor:
        mean, _ = self._mean_and_log_scale(outputs)
        return ops.clip((mean * self.levels - 0.5) / (self.levels - 1), 0.0, 1.0)

    def bias(self, codes: np.ndarray) -> np.ndarray:
        mean = (codes.mean(axis=0, dtype=np.float64) + 0.5) / self.levels
        return np.concatenate([mean, np.zeros_like(mean)][: self.parameters], axis=-1)

    def _mean_and_log_scale(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        if self.scale is not None:
            return outputs, ops.full((), math.log(self.scale), dtype="float32") + ops.zeros_like(outputs)
        mean, log_scale = ops.split(outputs, 2, axis=-1)
        return mean, ops.maximum(log_scale, SMALLEST_LOG_SCALE)


@dataclass(frozen=True)
class Categorical:
    """A free distribution over the levels of each value; the decoder gives a logit for each level."""

    levels: int
    is_random: bool = False

    @property
    def parameters(self) -> int:
        return self.levels

    def prepare(self, codes: Tensor, uniform: Tensor) -> Tensor:
        return ops.cast(codes, "float32") / (self.levels - 1)

    def log_prob(self, x: Tensor, outputs: Tensor) -> Tensor:
        logits = self._by_level(outputs)
        codes = ops.cast(ops.round(x * (self.levels - 1)), "int32")
        chosen = ops.one_hot(codes, self.levels, dtype="float32")
        return _summed(ops.sum(chosen * logits, axis=-1) - ops.logsumexp(logits, axis=-1))

    def mean(self, outputs: Tensor) -> Tensor:
        weighted = self._probabilities(outputs) * ops.arange(self.levels, dtype="float32")
        return ops.sum(weighted, axis=-1) / (self.levels - 1)

    def bias(self, codes: np.ndarray) -> np.ndarray:
        values = codes.reshape(len(codes), -1)
        places = np.arange(values.shape[1]) * self.levels
        counts = np.bincount((values + places).ravel(), minlength=values.shape[1] * self.levels)
        frequencies = counts.reshape(*codes.shape[1:-1], codes.shape[-1] * self.levels) / len(codes)
        return np.log(np.maximum(frequencies, SMALLEST_PROBABILITY / self.levels))

    def _probabilities(self, outputs: Tensor) -> Tensor:
        # Not ops.softmax: TensorFlow's refuses more than five dimensions outside XLA.
        logits = self._by_level(outputs)
        return ops.exp(logits - ops.logsumexp(logits, axis=-1, keepdims=True))

    def _by_level(self, outputs: Tensor) -> Tensor:
        shape = ops.shape(outputs)
        return ops.reshape(outputs, (*shape[:-1], outputs.shape[-1] // self.levels, self.levels))


@dataclass(frozen=True)
class DiscretizedLogistic:
    """A logistic distribution integrated over each level; the outer levels take the tails (Salimans et al., 2017, 2.1).

    The decoder gives location and log-scale in units of the full range. With a and b the standardised upper and lower
    edges of a level, log(σ(a) − σ(b)) = log σ(a) + log σ(−b) + log(1 − e^(b−a)), where nothing cancels.
    """

    levels: int
    parameters: int = 2
    is_random: bool = False

    def prepare(self, codes: Tensor, uniform: Tensor) -> Tensor:
        return ops.cast(codes, "float32") / (self.levels - 1)

    def log_prob(self, x: Tensor, outputs: Tensor) -> Tensor:
        location, log_scale = self._location_and_log_scale(outputs)
        precision = ops.exp(-log_scale)
        half = 0.5 / (self.levels - 1)
        upper = (x - location + half) * precision
        lower = (x - location - half) * precision
        width = 2 * half * precision
        first, last = x < half, x > 1 - half
        inside = ops.where(ops.logical_or(first, last), 0.0, ops.log(-ops.expm1(-width)))
        return _summed(inside - ops.where(last, 0.0, ops.softplus(-upper)) - ops.where(first, 0.0, ops.softplus(lower)))

    def mean(self, outputs: Tensor) -> Tensor:
        return ops.clip(self._location_and_log_scale(outputs)[0], 0.0, 1.0)

    def bias(self, codes: np.ndarray) -> np.ndarray:
        location = codes.mean(axis=0, dtype=np.float64) / (self.levels - 1)
        return np.concatenate([location, np.zeros_like(location)], axis=-1)

    def _location_and_log_scale(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        location, log_scale = ops.split(outputs, 2, axis=-1)
        return location, ops.maximum(log_scale, SMALLEST_LOG_SCALE)


def _summed(by_value: Tensor) -> Tensor:
    return ops.sum(by_value, axis=(-3, -2, -1))
