"""Encoders and decoders: layers of Keras, of any form. One kind is one file."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from elboflow.artifacts.spec import Shape
from elboflow.settings.kinds import Kind

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Site:
    """What a network is built for.

    Attributes:
        name: What it is called: `encoder`, `decoder`.
        inputs: The shape of an example of its input.
        outputs: The shape that it makes of it.
        seeds: Of initial weights, one for each kernel in the order in which kernels are made.
        condition: Numbers of the condition, the second input of an encoder, `[batch, condition]`; 0: there is none. (To
            a decoder, a condition is a part of z.)
        context: The shape of an example of the second input of an autoregressive decoder, which is what stands before
            each position, `[batch, *context]`; None for every other network.
        policy: The dtype policy of hidden layers. The layer that makes the outputs computes in float32, as the
            densities of its outputs do: bfloat16 has the 8 binary digits of an 8-bit intensity, too few for the mean of
            a density that is to be sharper than that.
    """

    name: str
    inputs: Shape
    outputs: Shape
    seeds: Iterator[int] = field(repr=False)
    condition: int = 0
    context: Shape | None = None
    policy: str = "float32"


class Network(Kind):
    """A network, as an encoder and as a decoder. Both return a layer, which is called with its input.

    Where the site has a condition or a context, the layer is called with a list: the input, and that.

    Attributes:
        is_autoregressive: Whether its decoder reads what stands before each position, besides z.
        loops_are_slow: Whether many of its steps in one program take longer on a processor than one after the other.
    """

    group, folder = "elboflow.networks", __name__
    is_autoregressive: ClassVar[bool] = False
    loops_are_slow: ClassVar[bool] = False

    def check_encoder(self, inputs: Shape) -> None:
        """Raises ValueError where it cannot read x `[batch, *inputs]`."""

    def check_decoder(self, outputs: Shape) -> None:
        """Raises ValueError where it cannot make the likelihood's parameters `[batch, *outputs]`."""

    def encoder(self, site: Site) -> "keras.Layer":
        """Returns a layer from x `[batch, *inputs]` to the posterior's parameters `[batch, *outputs]`."""
        raise NotImplementedError

    def decoder(self, site: Site) -> "keras.Layer":
        """Returns a layer from z `[batch, *inputs]` to the likelihood's parameters `[batch, *outputs]`."""
        raise NotImplementedError
