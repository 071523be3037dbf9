"""Priors p(z), or p(z|c) given a condition. A kind is one file."""

from abc import abstractmethod
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
    """The requirements for a prior in a model.

    Attributes:
        latent: The number of units of the layer of latents.
        condition: The size of the condition; 0 for no condition.
        inputs: The shape of an example of the encoder's input.
        seeds: The seeds of initial weights, one for each kernel.
    """

    latent: int
    condition: int
    inputs: Shape
    seeds: Iterator[int]


class Prior(Kind):
    """A kind of prior distribution over a layer of latents."""

    group, folder = "elboflow.priors", __name__

    def check(self, condition: str | None) -> None:
        """Raises a ValueError if the prior does not fit a model with this condition, or without one (None)."""

    def noise(self, latent: int) -> Shape:
        """Returns the shape of the standard normal numbers for one sample."""
        return (latent,)

    def layer(self, site: PriorSite) -> "keras.Layer | None":
        """Returns a built layer with the weights of the prior; None if it has no weights."""
        return None

    @abstractmethod
    def distribution(
        self, layer: "keras.Layer | None", condition: Tensor | None, encode: Callable[[Tensor], Distribution]
    ) -> Distribution:
        """Returns p(z), or p(z|c).

        Args:
            layer: The result of `layer`.
            condition: The condition, float32 `[batch, condition]`, or None.
            encode: An encoder's input `[n, *inputs]` → its posterior, for priors that are mixtures of posteriors
                (Tomczak and Welling, 2018).
        """
