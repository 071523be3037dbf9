"""Random numbers on JAX: each is a function of (seed, step, draw, example, index), on any device.

The compiler fuses the generator with the consuming operations: on a CPU, it takes a third of the time of `jax.random`.
The compiler also shards the generator like the batch: each device draws the numbers of its part of the batch, and one
device and many devices get the same numbers.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from elboflow.vae.compute.threefry import bits
from elboflow.vae.terms import Draw


def drawn(draws: Sequence[Draw], seed: int, step: jax.Array, batch: int) -> tuple[jax.Array, ...]:
    """Returns the numbers of a step's draws for the whole batch, float32 `[batch, …]`."""
    key = jnp.uint32(seed), step.astype(jnp.uint32)
    return tuple(_KINDS[draw.kind](bits(key, place, (batch, *draw.of_example))) for place, draw in enumerate(draws))


def _uniform(bits: jax.Array) -> jax.Array:
    """Returns numbers in [0, 1): 23 bits are the mantissa of a number in [1, 2)."""
    return lax.bitcast_convert_type((bits >> 9) | np.uint32(0x3F800000), jnp.float32) - 1


def _normal(bits: jax.Array) -> jax.Array:
    low = np.nextafter(np.float32(-1), np.float32(0))  # the inverse of the error function is infinite at -1
    return np.float32(np.sqrt(2)) * lax.erf_inv(jnp.maximum(low, 2 * _uniform(bits) - 1))


_KINDS = {"uniform": _uniform, "normal": _normal}
