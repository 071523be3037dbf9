"""Parts that networks share: hidden layers with dropout, and chains of layers that take a condition."""

from collections.abc import Sequence

import keras
from keras import layers

from elboflow.vae.layers.dropout import Dropout


def hidden(layer: keras.Layer, dropout: float) -> list[keras.Layer]:
    """Returns a hidden layer, and what drops its outputs in training, if anything does."""
    return [layer, Dropout(dropout, dtype=layer.dtype_policy)] if dropout else [layer]


def chain(
    name: str, shape: tuple[int, ...], condition: int, before: Sequence[keras.Layer], after: Sequence[keras.Layer]
) -> keras.Layer:
    """Returns layers one after the other.

    Args:
        name: What it is called.
        shape: Of an example of its input.
        condition: Numbers of a condition, its second input, which joins between `before` and `after`; 0: there is none.
        before: The first layers, whose outputs are `[batch, units]`, where there is a condition.
        after: The others.
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
