"""The limit: the same training in nothing but JAX, one `lax.scan` over the steps of an epoch.

It does what the product does in a step: gather the batch from the data on the device, binarise it anew, draw the noise,
the ELBO and its gradient, the global norm to which the gradient is clipped, Adam, and the measures of the step.
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from benchmarks.training.setting import BATCH, CLIP, LATENT, LEARNING_RATE, initial_weights
from benchmarks.training.turns import Turns

Layers = list[tuple[jax.Array, jax.Array]]


def loss(layers: Layers, x: jax.Array, noise: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    """Returns the negative ELBO, and its reconstruction and KL, of x `[batch, pixels]`, in nats per example."""
    encoder, decoder = layers[:3], layers[3:]
    mean, log_variance = jnp.split(_network(encoder, x), 2, axis=-1)
    logits = _network(decoder, mean + jnp.exp(0.5 * log_variance) * noise)
    reconstruction = jnp.mean(jnp.sum(x * logits - jax.nn.softplus(logits), axis=-1))
    kl = jnp.mean(0.5 * jnp.sum(jnp.exp(log_variance) + mean**2 - 1 - log_variance, axis=-1))
    return kl - reconstruction, (reconstruction, kl)


def _network(layers: Layers, x: jax.Array) -> jax.Array:
    for kernel, bias in layers[:-1]:
        x = jax.nn.relu(x @ kernel + bias)
    kernel, bias = layers[-1]
    return x @ kernel + bias


def random_words(number: jax.Array, width: int) -> jax.Array:
    """Returns random words of a step, uint32 `[batch, width]`: Threefry-2x32 (Salmon et al., 2011).

    `jax.random` has the same generator, whose rounds are a loop of their own on a CPU: it takes three times as long.
    """
    keys = jnp.uint32(1), number.astype(jnp.uint32), number.astype(jnp.uint32) ^ np.uint32(0x1BD11BDA ^ 1)
    shape = (BATCH, width // 2)
    one = lax.broadcasted_iota(jnp.uint32, shape, 0) + keys[0]
    other = lax.broadcasted_iota(jnp.uint32, shape, 1) + keys[1]
    for turn in range(20):
        bits = (13, 15, 26, 6, 17, 29, 16, 24)[turn % 8]
        one = one + other
        other = ((other << bits) | (other >> (32 - bits))) ^ one
        if turn % 4 == 3:
            added = turn // 4 + 1
            one, other = one + keys[added % 3], other + keys[(added + 1) % 3] + np.uint32(added)
    return jnp.concatenate([one, other], axis=1)


def step(state: tuple[Layers, Layers, Layers], images: jax.Array, rows: jax.Array, number: jax.Array) -> tuple:
    """Takes one step from (weights, first moments, second moments); returns the next state and the measures."""
    weights, first, second = state
    # 16 random bits decide a pixel as well as 32 do, with half as many words: 257 = 65535 / 255.
    words = random_words(number, images.shape[1] // 2)
    bits = lax.bitcast_convert_type(words, jnp.uint16).reshape(BATCH, -1)
    x = (images[rows].astype(jnp.uint16) * 257 > bits).astype(jnp.float32)
    noise = jax.random.normal(jax.random.fold_in(jax.random.key(0), number), (BATCH, LATENT))
    (value, terms), gradient = jax.value_and_grad(loss, has_aux=True)(weights, x, noise)
    norm = jnp.sqrt(sum(jnp.vdot(part, part) for part in jax.tree.leaves(gradient)))
    scale = jnp.minimum(1.0, CLIP / norm)
    time = number.astype(jnp.float32) + 1
    rate = LEARNING_RATE * jnp.sqrt(1 - 0.999**time) / (1 - 0.9**time)
    first = jax.tree.map(lambda m, g: m + 0.1 * (g * scale - m), first, gradient)
    second = jax.tree.map(lambda v, g: v + 0.001 * ((g * scale) ** 2 - v), second, gradient)
    weights = jax.tree.map(lambda w, m, v: w - rate * m / (jnp.sqrt(v) + 1e-7), weights, first, second)
    return (weights, first, second), jnp.stack([value, *terms, norm])


class Training:
    """A training whose epochs are one compiled call each."""

    def __init__(self, images: np.ndarray) -> None:
        self._images = jnp.asarray(images.reshape(len(images), -1))
        weights = jax.tree.map(jnp.asarray, initial_weights())
        self._state = weights, jax.tree.map(jnp.zeros_like, weights), jax.tree.map(jnp.zeros_like, weights)
        self._steps = 0
        self._program = jax.jit(self._scan, donate_argnums=0)

    def epoch(self, rows: np.ndarray) -> np.ndarray:
        """Trains on the batches of `rows` `[steps, batch]`; returns the steps' measures."""
        self._state, measures = self._program(self._state, self._images, rows, self._steps)
        self._steps += len(rows)
        return np.asarray(measures)

    @staticmethod
    def _scan(state: tuple, images: jax.Array, rows: jax.Array, first: jax.Array) -> tuple:
        numbers = first + jnp.arange(len(rows))
        return lax.scan(lambda state, batch: step(state, images, *batch), state, (rows, numbers))


def main() -> None:
    """Trains on the images of the .npy file that the command line names, until it is stopped."""
    turns, images, order = Turns(), np.load(sys.argv[1]), np.random.default_rng(0)
    training = Training(images)
    while True:
        rows = order.permutation(len(images))[: len(images) // BATCH * BATCH].reshape(-1, BATCH).astype(np.int32)
        training.epoch(rows)
        turns.done(rows.size, device=jax.devices()[0].device_kind)


if __name__ == "__main__":
    main()
