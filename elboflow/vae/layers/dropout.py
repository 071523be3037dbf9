"""Dropout that holds no randomness: what is dropped is a function of uniform numbers that are given to it.

Elements of dense layers are dropped one by one, those of convolutions by whole channels, whose neighbouring elements
would tell what is missing (Tompson et al., 2015). What stays is scaled so that its mean does (Srivastava et al., 2014).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
from keras import ops

from elboflow.vae.terms import Tensor


class Dropout(keras.layers.Layer):
    """Drops each unit of its inputs `[batch, …, units]` with a probability; outside of `dropping`, none.

    Args:
        rate: The probability.
    """

    def __init__(self, rate: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rate = rate
        self.units = 0
        self._uniform: list[Tensor] = []  # of the call at work, if any

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.units = int(input_shape[-1] or 0)
        self.built = True

    def call(self, inputs: Tensor) -> Tensor:
        if not self._uniform:
            return inputs
        kept = ops.cast(self._uniform[-1] >= self.rate, inputs.dtype) / (1 - self.rate)
        return inputs * ops.reshape(kept, (-1, *[1] * (len(inputs.shape) - 2), self.units))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape


def units(network: keras.Layer) -> int:
    """Returns the uniform numbers that the dropout of a network takes for an example."""
    return sum(layer.units for layer in _layers(network))


@contextmanager
def dropping(network: keras.Layer, uniform: Tensor | None) -> Iterator[None]:
    """Lets a network drop units in the calls of the block.

    Args:
        network: The network.
        uniform: Independent uniform numbers in [0, 1), `[batch, units]`; None: nothing is dropped.
    """
    if uniform is None:
        yield
        return
    layers, first = list(_layers(network)), 0
    for layer in layers:
        layer._uniform.append(uniform[:, first : first + layer.units])
        first += layer.units
    try:
        yield
    finally:
        for layer in layers:
            layer._uniform.pop()


def _layers(network: keras.Layer) -> Iterator[Dropout]:
    return (layer for layer in network._flatten_layers() if isinstance(layer, Dropout))
