"""Shared parts of networks: hidden layers with dropout, and chains of layers with a condition."""

from collections.abc import Sequence

import keras
from keras import layers

from elboflow.vae.layers.dropout import Dropout


def hidden(layer: keras.Layer, dropout: float) -> list[keras.Layer]:
    """Returns a hidden layer, followed by a dropout layer if the rate is not 0."""
    return [layer, Dropout(dropout, dtype=layer.dtype_policy)] if dropout else [layer]


def chain(
    name: str, shape: tuple[int, ...], condition: int, before: Sequence[keras.Layer], after: Sequence[keras.Layer]
) -> keras.Layer:
    """Returns a network that applies layers in sequence.

    Args:
        name: The name of the network.
        shape: The shape of an example of the input.
        condition: The size of a condition, the second input, which is concatenated between `before` and `after`; 0 for
            no condition.
        before: The first layers. With a condition, their outputs must be `[batch, units]`.
        after: The remaining layers.
    """
    if not condition:
        return keras.Sequential([keras.Input(shape), *before, *after], name=name)
    inputs, condition = keras.Input(shape), keras.Input((condition,))
    values = inputs
    for layer in before:
        values = layer(values)
    values = layers.Concatenate()([values, condition])
    for layer in after:
        values = layer(values)
    return keras.Model([inputs, condition], values, name=name)
