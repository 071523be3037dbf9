"""Networks: encoders and decoders as Keras layers. A kind is one file."""

import itertools
from abc import abstractmethod
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
    """The requirements for a network in a model.

    Attributes:
        name: The name of the network: `encoder`, `decoder`.
        inputs: The shape of an example of the input.
        outputs: The shape of an example of the output.
        seeds: The seeds of initial weights, one for each kernel in the order of creation.
        condition: The size of the condition, the second input of an encoder, `[batch, condition]`; 0 for no condition.
            (For a decoder, the condition is a part of z.)
        context: The shape of an example of an autoregressive decoder's second input, the previous value at each
            position, `[batch, *context]`; None for other networks.
        policy: The dtype policy of hidden layers. The output layer computes in float32, like the densities of its
            outputs: bfloat16 has only 8 significant bits, as many as an 8-bit intensity, and the mean of a sharp
            density needs more.
    """

    name: str
    inputs: Shape
    outputs: Shape
    seeds: Iterator[int] = field(repr=False)
    condition: int = 0
    context: Shape | None = None
    policy: str = "float32"


class Network(Kind):
    """A kind of network, with an encoder and a decoder.

    If the site has a condition or a context, the layer is called with a list of two inputs.

    The output layer is named `OUTPUT` (`elboflow.vae.layers`). It computes in float32 under every policy, and Muon
    excludes it. In a decoder, `output_bias: mean` sets its bias, `[outputs]` or, if all positions share it, the outputs
    of one position. A network without such a layer can be trained only with `output_bias: zeros`.

    Attributes:
        is_autoregressive: Whether the decoder also reads the previous value at each position.
        loops_are_slow: Whether on a CPU one program with many training steps is slower than a program for each step.
    """

    group, folder = "elboflow.networks", __name__
    is_autoregressive: ClassVar[bool] = False
    loops_are_slow: ClassVar[bool] = False

    def check_encoder(self, inputs: Shape) -> None:
        """Raises a ValueError if the encoder cannot read inputs `[batch, *inputs]`."""

    def check_decoder(self, outputs: Shape) -> None:
        """Raises a ValueError if the decoder cannot have outputs `[batch, *outputs]`."""

    @abstractmethod
    def encoder(self, site: Site) -> "keras.Layer":
        """Returns a layer from x `[batch, *inputs]` to the posterior's parameters `[batch, *outputs]`."""

    @abstractmethod
    def decoder(self, site: Site) -> "keras.Layer":
        """Returns a layer from z `[batch, *inputs]` to the likelihood's parameters `[batch, *outputs]`."""


def built(make: "Callable[[Site], keras.Layer]", site: Site, purpose: str) -> "keras.Layer":
    """Returns a network after a check of its output shape, because a likelihood would silently broadcast a wrong shape.

    Args:
        make: `Network.encoder` or `Network.decoder`.
        site: The requirements for the network.
        purpose: What needs the output shape, for the message.

    Raises:
        RequestError: The network cannot be built for these inputs or outputs.
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
    """Returns an endless iterator of seeds, one for each layer of a model."""
    return (int(np.random.SeedSequence([seed, layer]).generate_state(1)[0]) for layer in itertools.count())
