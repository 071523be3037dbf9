"""What the bounds say about the latent units, and in which unit the likelihood compares with other work."""

import math
from dataclasses import dataclass

import numpy as np

from elboflow.vae.evaluation.bootstrap import Estimate

# Burda et al. (2016), section 5.2.
ACTIVE_ABOVE = 0.01


@dataclass(frozen=True)
class Units:
    """The latent units, in the model's order.

    Attributes:
        kl: Mean over the examples of KL(q(z_u|x) ‖ p(z_u)), nats `[latent]`.
        variance: Variance over the examples of the posterior mean, `[latent]`.
    """

    kl: np.ndarray
    variance: np.ndarray

    @property
    def active(self) -> np.ndarray:
        """Which units carry anything of an example, `[latent]`: their variance is above `ACTIVE_ABOVE`."""
        return self.variance > ACTIVE_ABOVE

    @property
    def by_kl(self) -> np.ndarray:
        """The units' numbers, the one with the most nats first, `[latent]`."""
        return np.argsort(-self.kl, kind="stable")


def units(posterior_mean: np.ndarray, kl_by_unit: np.ndarray) -> Units:
    """Returns the latent units' diagnostics from the posteriors' means and KLs, `[examples, latent]` each."""
    return Units(kl=kl_by_unit.mean(axis=0), variance=posterior_mean.var(axis=0))


def bits_per_dim(log_likelihood: Estimate, dimensions: float) -> Estimate:
    """Turns a log-likelihood in nats per example into bits for each of its `dimensions` values; lower is better."""
    scale = -1 / (dimensions * math.log(2))
    return Estimate(log_likelihood.value * scale, log_likelihood.high * scale, log_likelihood.low * scale)
