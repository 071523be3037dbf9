"""Posteriors q(z|x): from what an encoder makes of an example to a distribution. One kind is one file."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from elboflow.artifacts.spec import Shape
from elboflow.settings.kinds import Kind
from elboflow.vae.terms import Distribution, Tensor

if TYPE_CHECKING:
    import keras


class Posterior(Kind):
    """A family of distributions over a layer of latents."""

    group, folder = "elboflow.posteriors", __name__

    def noise(self, latent: int) -> Shape:
        """Returns the shape of the standard normal numbers that make one sample."""
        return (latent,)

    def outputs(self, latent: int) -> int:
        """Returns how many numbers an encoder makes of an example."""
        raise NotImplementedError

    def layer(self, latent: int, seeds: Iterator[int]) -> "keras.Layer | None":
        """Returns a layer with weights of its own, built; None: it has none.

        Args:
            latent: Units of the layer of latents.
            seeds: Of initial weights, one for each kernel.
        """
        return None

    def distribution(self, layer: "keras.Layer | None", outputs: Tensor) -> Distribution:
        """Returns q(z|x).

        Args:
            layer: From `layer`.
            outputs: The encoder's, float32 `[batch, outputs]`.
        """
        raise NotImplementedError
