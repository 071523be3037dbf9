"""Dropout as a function of uniform random numbers, which the caller draws.

In dense layers, single elements are dropped. In convolutions, whole channels are dropped, because neighbouring elements
are correlated (Tompson et al., 2015). The remaining elements are scaled so that the mean is unchanged (Srivastava et
al., 2014).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
from keras import ops

from elboflow.vae.terms import Tensor


class Dropout(keras.layers.Layer):
    """Drops each unit of its inputs `[batch, …, units]` with a probability, within `dropping` only.

    Args:
        rate: The probability.
    """

    def __init__(self, rate: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rate = rate
        self.units = 0
        self._uniform: list[Tensor] = []  # the random numbers of the current `dropping`, if any

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
    """Returns the number of uniform random numbers that the dropout of a network needs for an example."""
    return sum(layer.units for layer in _layers(network))


@contextmanager
def dropping(network: keras.Layer, uniform: Tensor | None) -> Iterator[None]:
    """Enables the dropout of a network within the `with` statement.

    Args:
        network: The network.
        uniform: Independent uniform numbers in [0, 1), `[batch, units]`; None for no dropout.
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
