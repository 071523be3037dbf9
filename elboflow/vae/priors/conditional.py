"""A Gaussian whose mean and variance depend on the condition (Sohn et al., 2015)."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from elboflow.vae import distributions, ops
from elboflow.vae.priors import Prior, PriorSite
from elboflow.vae.terms import Distribution, Tensor

if TYPE_CHECKING:
    import keras


class Conditional(Prior):
    """p(z|c) = N(mean(c), diag(variance(c))): mean and log-variance are affine in c. Initially N(0, I)."""

    kind: Literal["conditional"] = "conditional"

    def check(self, condition: str | None) -> None:
        if condition is None:
            raise ValueError("'conditional' needs a condition; give model.condition, or choose another prior")

    def layer(self, site: PriorSite) -> "keras.Layer":
        from keras import layers

        made = layers.Dense(2 * site.latent, kernel_initializer="zeros", name="prior")
        made.build((None, site.condition))
        return made

    def distribution(
        self, layer: "keras.Layer | None", condition: Tensor | None, encode: Callable[[Tensor], Distribution]
    ) -> Distribution:
        assert layer is not None
        return distributions.DiagonalGaussian(*ops.split(layer(condition), 2, axis=-1))
