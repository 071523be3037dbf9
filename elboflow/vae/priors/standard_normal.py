"""The standard normal distribution."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from elboflow.vae import distributions
from elboflow.vae.priors import Prior
from elboflow.vae.terms import Distribution, Tensor

if TYPE_CHECKING:
    import keras


class StandardNormal(Prior):
    """p(z) = N(0, I)."""

    kind: Literal["standard_normal"] = "standard_normal"

    def distribution(
        self, layer: "keras.Layer | None", condition: Tensor | None, encode: Callable[[Tensor], Distribution]
    ) -> Distribution:
        return distributions.StandardNormal()
