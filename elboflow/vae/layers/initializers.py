"""Initial weights, drawn on the host: the same on every backend, and without compilation.

The distributions equal those of Keras's initializers of the same names (Glorot and Bengio, 2010; He et al., 2015; LeCun
et al., 1998; Saxe et al., 2014). On JAX, Keras's initializers take longer to compile than to draw.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

from elboflow.vae.layers import Initializer
from elboflow.vae.terms import Tensor

# The variance of the weights times the mean of fan-in and fan-out (glorot), or times fan-in (he, lecun).
_SCALES = {"glorot": 1.0, "he": 2.0, "lecun": 1.0}
# The standard deviation of a standard normal truncated at ±2.
_DEVIATION_WITHIN_TWO = 0.87962566103423978


def seeded(name: Initializer, seeds: Iterator[int]) -> keras.initializers.Initializer:
    """Returns an initializer by name, with the next seed."""
    return _Drawn(name, next(seeds))


class _Drawn(keras.initializers.Initializer):
    def __init__(self, name: Initializer, seed: int) -> None:
        self._name, self._seed = name, seed

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Tensor:
        weights = drawn(self._name, self._seed, tuple(shape))
        return keras.ops.convert_to_tensor(weights, dtype=dtype)

    def get_config(self) -> dict[str, Any]:
        return {"name": self._name, "seed": self._seed}


def drawn(name: Initializer, seed: int, shape: tuple[int, ...]) -> np.ndarray:
    """Returns the initial weights of a kernel `[…, inputs, outputs]`, float32."""
    generator = np.random.Generator(np.random.Philox(key=seed))
    if name == "orthogonal":
        return _orthogonal(generator, shape)
    scheme, distribution = name.split("_")
    receptive = math.prod(shape[:-2])
    inputs, outputs = receptive * shape[-2], receptive * shape[-1]
    variance = _SCALES[scheme] / ((inputs + outputs) / 2 if scheme == "glorot" else inputs)
    if distribution == "uniform":
        limit = math.sqrt(3 * variance)
        return generator.uniform(-limit, limit, shape).astype(np.float32)
    return (_truncated_normal(generator, shape) * (math.sqrt(variance) / _DEVIATION_WITHIN_TWO)).astype(np.float32)


def _truncated_normal(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Returns standard normal numbers, truncated at ±2."""
    numbers = generator.standard_normal(shape)
    while (beyond := np.abs(numbers) > 2).any():
        numbers[beyond] = generator.standard_normal(int(beyond.sum()))
    return numbers


def _orthogonal(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    rows, columns = math.prod(shape[:-1]), shape[-1]
    q, r = np.linalg.qr(generator.standard_normal((max(rows, columns), min(rows, columns))))
    q *= np.sign(np.diag(r))  # makes the distribution uniform over the orthogonal matrices
    return (q if rows >= columns else q.T).reshape(shape).astype(np.float32)
