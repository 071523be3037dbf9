"""Posteriors q(z|x): the outputs of an encoder → a distribution. A kind is one file."""

from abc import abstractmethod
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
        """Returns the shape of the standard normal numbers for one sample."""
        return (latent,)

    @abstractmethod
    def outputs(self, latent: int) -> int:
        """Returns the number of encoder outputs for an example."""

    def layer(self, latent: int, seeds: Iterator[int]) -> "keras.Layer | None":
        """Returns a built layer with the weights of the posterior; None if it has no weights.

        Args:
            latent: The number of units of the layer of latents.
            seeds: The seeds of initial weights, one for each kernel.
        """
        return None

    @abstractmethod
    def distribution(self, layer: "keras.Layer | None", outputs: Tensor) -> Distribution:
        """Returns q(z|x).

        Args:
            layer: The result of `layer`.
            outputs: The encoder's outputs, float32 `[batch, outputs]`.
        """
