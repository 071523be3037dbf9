"""Random numbers on JAX: each is a function of (seed, step, draw, example, place), whatever computes it and where.

They are Threefry-2x32 (Salmon et al., 2011), written in element-wise operations on counters. The compiler fuses these
with what takes the numbers: on a CPU, they cost a third of what `jax.random` does. And it divides them among devices as
it divides batches: one device and many see the same numbers, and each draws those of its own examples alone.
"""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from vae.training.step import Draw

_ROUNDS = 20
_ROTATIONS = (13, 15, 26, 6, 17, 29, 16, 24)
_PARITY = 0x1BD11BDA  # of the key schedule: no key leaves all words zero

# The places of an example's numbers are counted in the low bits of a counter, the draws of a step above them.
_PLACE_BITS = 27


def drawn(draws: Sequence[Draw], seed: int, step: jax.Array) -> tuple[jax.Array, ...]:
    """Returns the numbers of a step's draws for the whole batch, float32."""
    key = jnp.uint32(seed), step.astype(jnp.uint32)
    return tuple(_KINDS[draw.kind](_bits(key, place, draw.shape)) for place, draw in enumerate(draws))


def _uniform(bits: jax.Array) -> jax.Array:
    """Returns numbers in [0, 1): 23 bits are the mantissa of a number in [1, 2)."""
    return lax.bitcast_convert_type((bits >> 9) | np.uint32(0x3F800000), jnp.float32) - 1


def _normal(bits: jax.Array) -> jax.Array:
    low = np.nextafter(np.float32(-1), np.float32(0))  # the inverse of the error function is infinite at -1
    return np.float32(np.sqrt(2)) * lax.erf_inv(jnp.maximum(low, 2 * _uniform(bits) - 1))


_KINDS = {"uniform": _uniform, "normal": _normal}


def _bits(key: tuple[jax.Array, jax.Array], place: int, shape: tuple[int, ...]) -> jax.Array:
    """Returns random bits, uint32 of `shape`, whose first axis is that of examples."""
    counters = (shape[0], math.prod(shape[1:]))
    examples = lax.broadcasted_iota(jnp.uint32, counters, 0)
    places = lax.broadcasted_iota(jnp.uint32, counters, 1) + np.uint32(place << _PLACE_BITS)
    return _threefry(key, (examples, places)).reshape(shape)


def _threefry(key: tuple[jax.Array, jax.Array], counters: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
    """Returns the counters, encrypted."""
    schedule = (*key, key[0] ^ key[1] ^ np.uint32(_PARITY))
    one, other = counters[0] + schedule[0], counters[1] + schedule[1]
    for number in range(_ROUNDS):
        turn = _ROTATIONS[number % 8]
        one = one + other
        other = ((other << turn) | (other >> (32 - turn))) ^ one
        if number % 4 == 3:
            added = number // 4 + 1
            one = one + schedule[added % 3]
            other = other + schedule[(added + 1) % 3] + np.uint32(added)
    return one
