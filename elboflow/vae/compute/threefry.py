"""Threefry-2x32 (Salmon et al., 2011): random bits as a function of a key and a counter.

The algorithm is element-wise arithmetic, so a compiler fuses it with the consuming operations. A device that computes a
part of a batch draws only the numbers of that part, and they are the same on any device.
"""

import math
from collections.abc import Sequence

import numpy as np
from keras import ops

from elboflow.vae.distributions import Tensor

_ROUNDS = 20
_ROTATIONS = (13, 15, 26, 6, 17, 29, 16, 24)
_PARITY = 0x1BD11BDA  # the parity constant of the key schedule, so that no key has only zero words

# The low bits of a counter are the index of a number within its example, the high bits the index of the draw.
_PLACE_BITS = 27


def bits(key: tuple[Tensor, Tensor], draw: int, shape: Sequence[int], first: Tensor | int = 0) -> Tensor:
    """Returns random bits, uint32 of `shape`.

    Args:
        key: The seed and the step number, uint32.
        draw: The index of the draw in the step.
        shape: The shape of the result; the first axis is that of examples.
        first: The index of the first example in the batch.
    """
    count, places = shape[0], math.prod(shape[1:])
    examples = ops.reshape(_numbers(count), (count, 1)) + ops.cast(first, "uint32")
    of_draw = ops.reshape(_numbers(places), (1, places)) + np.uint32(draw << _PLACE_BITS)
    counters = ops.broadcast_to(examples, (count, places)), ops.broadcast_to(of_draw, (count, places))
    return ops.reshape(_encrypted(key, counters), tuple(shape))


def _numbers(count: int) -> Tensor:
    return ops.cast(ops.arange(count, dtype="int32"), "uint32")  # TensorFlow's range has no unsigned dtypes


def _encrypted(key: tuple[Tensor, Tensor], counters: tuple[Tensor, Tensor]) -> Tensor:
    """Returns the first word of each encrypted counter."""
    schedule = (*key, ops.bitwise_xor(ops.bitwise_xor(key[0], key[1]), np.uint32(_PARITY)))
    one, other = counters[0] + schedule[0], counters[1] + schedule[1]
    for number in range(_ROUNDS):
        turn = _ROTATIONS[number % len(_ROTATIONS)]
        one = one + other
        left, right = ops.left_shift(other, np.uint32(turn)), ops.right_shift(other, np.uint32(32 - turn))
        other = ops.bitwise_xor(ops.bitwise_or(left, right), one)
        if number % 4 == 3:
            added = number // 4 + 1
            one = one + schedule[added % 3]
            other = other + schedule[(added + 1) % 3] + np.uint32(added)
    return one
