"""Dropout that holds no randomness: what is dropped is a function of uniform numbers that come in as an argument.

Elements of dense layers are dropped one by one, those of convolutions by whole channels, whose neighbouring elements
would tell what is missing (Tompson et al., 2015). What stays is scaled so that its mean does (Srivastava et al., 2014).
"""

import keras
from keras import ops

from elboflow.vae.distributions import Tensor
from elboflow.vae.networks import layers


def units(network: keras.Sequential) -> int:
    """Returns how many units of a network dropout may drop: the uniform numbers that `call` takes for an example."""
    return sum(layer.output.shape[-1] for layer in layers.hidden(network))


def call(network: keras.Sequential, inputs: Tensor, rate: float, uniform: Tensor) -> Tensor:
    """Returns the outputs of a network whose hidden layers lose each unit with probability `rate`.

    Args:
        network: The network.
        inputs: Its inputs, `[batch, …]`.
        rate: The probability.
        uniform: Independent uniform numbers in [0, 1), `[batch, units]`.
    """
    dropped, first, values = layers.hidden(network), 0, inputs
    for layer in network.layers:
        values = layer(values)
        if layer in dropped:
            width = values.shape[-1]
            kept = ops.cast(uniform[:, first : first + width] >= rate, values.dtype) / (1 - rate)
            values = values * ops.reshape(kept, (-1, *[1] * (len(values.shape) - 2), width))
            first += width
    return values
