"""Diagnostics of the latent units, and bits per dimension."""

import math
from dataclasses import dataclass

import numpy as np

from elboflow.vae.evaluation.bootstrap import Estimate

# Burda et al. (2016), section 5.2.
ACTIVE_ABOVE = 0.01


@dataclass(frozen=True)
class Units:
    """Diagnostics of the latent units, in the order of the model.

    Attributes:
        kl: The mean of KL(q(z_u|x) ‖ p(z_u)) over the examples, in nats, `[latent]`.
        variance: The variance of the posterior mean over the examples, `[latent]`.
    """

    kl: np.ndarray
    variance: np.ndarray

    @property
    def active(self) -> np.ndarray:
        """A mask of the active units, bool `[latent]`: their variance is above `ACTIVE_ABOVE`."""
        return self.variance > ACTIVE_ABOVE

    @property
    def by_kl(self) -> np.ndarray:
        """The indices of the units by descending KL, `[latent]`."""
        return np.argsort(-self.kl, kind="stable")


def units(posterior_mean: np.ndarray, kl_by_unit: np.ndarray) -> Units:
    """Returns the diagnostics of the latent units from posterior means and KLs, each `[examples, latent]`."""
    return Units(kl=kl_by_unit.mean(axis=0), variance=posterior_mean.var(axis=0))


def bits_per_dim(log_likelihood: Estimate, dimensions: float) -> Estimate:
    """Converts a log-likelihood in nats per example to bits per dimension; lower is better."""
    scale = -1 / (dimensions * math.log(2))
    return Estimate(log_likelihood.value * scale, log_likelihood.high * scale, log_likelihood.low * scale)
