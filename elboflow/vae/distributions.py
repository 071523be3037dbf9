"""Distributions: exact densities of latents in nats, and samples from uniform numbers, in `keras.ops`."""

import math
from dataclasses import dataclass

from elboflow.vae import ops
from elboflow.vae.terms import Distribution, Tensor

LOG_TWO_PI = math.log(2 * math.pi)


@dataclass(frozen=True)
class DiagonalGaussian:
    """N(mean, diag(exp(log_variance))): each `[batch, units]`, or `[samples, batch, units]` below another layer."""

    mean: Tensor
    log_variance: Tensor

    def sample(self, noise: Tensor) -> Tensor:
        """Turns standard normal `noise` `[samples, batch, units]` into samples of z (Kingma and Welling, 2014)."""
        return self.mean + ops.exp(0.5 * self.log_variance) * noise

    def log_prob(self, z: Tensor) -> Tensor:
        """Returns log q(z|x), `[samples, batch]`."""
        squared = ops.square(z - self.mean) * ops.exp(-self.log_variance)
        return -0.5 * ops.sum(squared + self.log_variance + LOG_TWO_PI, axis=-1)

    def kl(self, prior: Distribution) -> Tensor | None:
        """Returns KL(this ‖ prior) by unit in closed form, if the prior is a diagonal Gaussian; otherwise None."""
        match prior:
            case StandardNormal():
                return 0.5 * (ops.exp(self.log_variance) + ops.square(self.mean) - 1.0 - self.log_variance)
            case DiagonalGaussian(mean=mean, log_variance=log_variance):
                scaled = (ops.exp(self.log_variance) + ops.square(self.mean - mean)) * ops.exp(-log_variance)
                return 0.5 * (scaled - 1.0 - self.log_variance + log_variance)
            case _:
                return None


@dataclass(frozen=True)
class StandardNormal:
    """N(0, I)."""

    @property
    def mean(self) -> Tensor:
        """Zero."""
        return 0.0

    def sample(self, noise: Tensor) -> Tensor:
        """Returns the noise unchanged."""
        return noise

    def log_prob(self, z: Tensor) -> Tensor:
        """Returns log p(z), `[samples, batch]`."""
        return -0.5 * ops.sum(ops.square(z) + LOG_TWO_PI, axis=-1)

    def kl(self, prior: Distribution) -> Tensor | None:
        """Returns None: this class is used as a prior only."""
        return None


def normal_from_uniform(uniform: Tensor) -> Tensor:
    """Returns standard normal numbers from uniform numbers in [0, 1), by the inverse of the distribution function.

    Args:
        uniform: Float32 multiples of 2^-24, as NumPy draws them. Each is moved to the middle of its interval, so that
            none of them becomes infinite.
    """
    around_zero = 2 * uniform - 1 + 2**-24
    # The lower half only: near 1, TensorFlow's `erfinv` rounds its argument to 1.
    return -math.sqrt(2) * ops.sign(around_zero) * ops.erfinv(-ops.abs(around_zero))


def class_from_uniform(logits: Tensor, uniform: Tensor) -> Tensor:
    """Returns classes from uniform numbers in [0, 1), by the inverse of the distribution function, int32 `[…]`.

    Args:
        logits: A logit for each class, `[…, classes]`.
        uniform: The numbers, `[…]`.
    """
    up_to = ops.cumsum(ops.softmax(logits, axis=-1), axis=-1)
    below = ops.sum(ops.cast(up_to <= uniform[..., None], "int32"), axis=-1)
    return ops.minimum(below, logits.shape[-1] - 1)  # `up_to` may end below 1 because of rounding
