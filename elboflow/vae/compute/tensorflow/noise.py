"""Random numbers on TensorFlow: each is a function of (seed, step, draw, example, index), on any device."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from elboflow.vae.compute.threefry import bits
from elboflow.vae.terms import Draw


def drawn(draws: Sequence[Draw], seed: int, step: tf.Tensor, first: tf.Tensor | int, count: int) -> list[tf.Tensor]:
    """Returns the numbers of a step's draws for consecutive examples of the whole batch, float32 `[count, …]`.

    Args:
        draws: The draws.
        seed: The seed of the training.
        step: The step number, from 0.
        first: The index of the first example in the whole batch.
        count: The number of examples.
    """
    key = tf.constant(seed, tf.uint32), tf.cast(step, tf.uint32)
    shapes = [(count, *draw.of_example) for draw in draws]
    return [_KINDS[draw.kind](bits(key, place, shapes[place], first)) for place, draw in enumerate(draws)]


def _uniform(random: tf.Tensor) -> tf.Tensor:
    """Returns numbers in [0, 1): 23 bits are the mantissa of a number in [1, 2)."""
    mantissa = tf.bitwise.right_shift(random, tf.constant(9, tf.uint32))
    return tf.bitcast(tf.bitwise.bitwise_or(mantissa, tf.constant(0x3F800000, tf.uint32)), tf.float32) - 1


def _normal(random: tf.Tensor) -> tf.Tensor:
    low = np.nextafter(np.float32(-1), np.float32(0))  # the inverse of the error function is infinite at -1
    return np.float32(np.sqrt(2)) * tf.math.erfinv(tf.maximum(low, 2 * _uniform(random) - 1))


_KINDS = {"uniform": _uniform, "normal": _normal}
