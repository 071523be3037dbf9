"""A Gaussian with a diagonal covariance: the encoder outputs mean and log-variance."""

from typing import TYPE_CHECKING, Literal

from elboflow.vae import distributions, ops
from elboflow.vae.posteriors import Posterior
from elboflow.vae.terms import Distribution, Tensor

if TYPE_CHECKING:
    import keras


class DiagonalGaussian(Posterior):
    """q(z|x) = N(mean(x), diag(variance(x)))."""

    kind: Literal["diagonal_gaussian"] = "diagonal_gaussian"

    def outputs(self, latent: int) -> int:
        return 2 * latent

    def distribution(self, layer: "keras.Layer | None", outputs: Tensor) -> Distribution:
        return distributions.DiagonalGaussian(*ops.split(outputs, 2, axis=-1))
