"""Encoders and decoders: layers of Keras, of any form. One kind is one file."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from elboflow.artifacts.spec import Shape
from elboflow.settings import RequestError
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

    The layer within it that makes the outputs is named `OUTPUT` (`elboflow.vae.layers`): it computes in float32,
    whatever the policy; a decoder's has the bias that `output_bias: mean` sets, one number for each output, or for each
    output of a place; and Muon leaves it to Adam. A network without such a layer trains, but with `output_bias: zeros`.

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


def built(make: "Callable[[Site], keras.Layer]", site: Site, purpose: str) -> "keras.Layer":
    """Returns a network that makes outputs of the shape that is needed; a likelihood would broadcast others.

    Args:
        make: `Network.encoder` or `Network.decoder`.
        site: What it is built for.
        purpose: What the shape of its outputs follows from.

    Raises:
        RequestError: It cannot be built for such inputs or outputs.
    """
    try:
        network = make(site)
    except ValueError as error:
        raise RequestError(f"model.{site.name}: {error}") from None
    found = tuple(network.output_shape[1:]) if hasattr(network, "output_shape") else site.outputs
    if found != site.outputs:
        raise RequestError(
            f"model.{site.name} makes outputs of shape {list(found)} for each example; {purpose} needs "
            f"{list(site.outputs)}"
        )
    return network


def seeds(seed: int) -> Iterator[int]:
    """Returns a seed for each layer of a model, without end."""
    return (int(np.random.SeedSequence([seed, layer]).generate_state(1)[0]) for layer in itertools.count())
