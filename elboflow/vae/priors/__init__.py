"""Priors p(z), or p(z|c) given a condition. One kind is one file."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from elboflow.artifacts.spec import Shape
from elboflow.settings.kinds import Kind
from elboflow.vae.terms import Distribution, Tensor

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class PriorSite:
    """What a prior is built for.

    Attributes:
        latent: Units of the layer of latents.
        condition: Numbers of the condition; 0: there is none.
        inputs: The shape of what the encoder reads of an example.
        seeds: Of initial weights, one for each kernel.
    """

    latent: int
    condition: int
    inputs: Shape
    seeds: Iterator[int]


class Prior(Kind):
    """A distribution of a layer of latents before an example is seen."""

    group, folder = "elboflow.priors", __name__

    def check(self, condition: str | None) -> None:
        """Raises ValueError where it cannot be the prior of a model with this condition, or without any."""

    def noise(self, latent: int) -> Shape:
        """Returns the shape of the standard normal numbers that make one sample."""
        return (latent,)

    def layer(self, site: PriorSite) -> "keras.Layer | None":
        """Returns a layer with weights of its own, built; None: it has none."""
        return None

    def distribution(
        self, layer: "keras.Layer | None", condition: Tensor | None, encode: Callable[[Tensor], Distribution]
    ) -> Distribution:
        """Returns p(z), or p(z|c).

        Args:
            layer: From `layer`.
            condition: Float32 `[batch, condition]`, or None.
            encode: The posterior of what an encoder reads, `[n, *inputs]` (for priors made of posteriors: Tomczak and
                Welling, 2018).
        """
        raise NotImplementedError
