"""Images out of a trained model: from the prior, of given examples, and along single latent units."""

import functools
from collections.abc import Callable

import numpy as np

from elboflow.vae import noise
from elboflow.vae.backends import compiled
from elboflow.vae.data import Examples
from elboflow.vae.distributions import Tensor
from elboflow.vae.model import VAE

_BATCH = 64
Decoder = Callable[[np.ndarray], np.ndarray]


def decoder(model: VAE) -> Decoder:
    """Returns a function from z `[images, latent]` to expected intensities `[images, height, width, channels]`."""

    def expected(z: Tensor) -> Tensor:
        return model.likelihood.mean(model.decode(z))

    program = compiled(model, expected)

    def decode(z: np.ndarray) -> np.ndarray:
        return np.concatenate([program(part)[:count] for part, count in _filled(z.astype(np.float32))])

    return decode


def from_prior(model: VAE, decode: Decoder, count: int, seed: int) -> np.ndarray:
    """Returns `count` images decoded from z ~ p(z); the first of more images are the same images."""
    return decode(noise.normal(seed, np.arange(count), (model.latent,)))


def generate(model: VAE, count: int, seed: int) -> np.ndarray:
    """Returns `count` new images, expected intensities in [0, 1] `[count, height, width, channels]`."""
    return from_prior(model, decoder(model), count, seed)


def reconstruct(model: VAE, examples: Examples, seed: int) -> np.ndarray:
    """Returns the examples decoded from the mean of q(z|x), expected intensities `[examples, height, width, channels]`.

    Raises:
        WorkError: The examples do not fit the model.
    """
    examples.check(model.spec, "test")

    program = _reconstruction(model)
    uniform = model.uniform(seed, examples.keys)
    parts = zip(_filled(examples.images), _filled(uniform), strict=True)
    return np.concatenate([program(codes, bits)[:count] for (codes, count), (bits, _) in parts])


@functools.lru_cache(maxsize=1)  # a server compiles once
def _reconstruction(model: VAE) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    def through(codes: Tensor, uniform: Tensor) -> Tensor:
        return model.call(model.prepare(codes, uniform))

    return compiled(model, through)


def traverse(decode: Decoder, start: np.ndarray, units: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Returns images along single units, the others held: `[units * values, height, width, channels]`, unit by unit.

    Args:
        decode: From `decoder`.
        start: The z from which one unit at a time departs, `[latent]`.
        units: Numbers of the units to move.
        values: The values that each takes.
    """
    z = np.broadcast_to(start, (len(units), len(values), len(start))).copy()
    for row, unit in enumerate(units):
        z[row, :, unit] = values
    return decode(z.reshape(-1, len(start)))


def _filled(rows: np.ndarray) -> list[tuple[np.ndarray, int]]:
    """Cuts rows into batches of one size, so that one program serves all, each with the number of rows that count."""
    parts = [rows[start : start + _BATCH] for start in range(0, len(rows), _BATCH)]
    return [(np.resize(part, (_BATCH, *rows.shape[1:])), len(part)) for part in parts]
