"""Random numbers of evaluation: a function of (seed, example), the same on every backend, in any order or batch.

Two models judged on the same examples thus see the same binarised bits and draw with the same noise, which takes
that noise out of their comparison. Training draws on the device instead (`elboflow.vae.backends`).
"""

from collections.abc import Callable, Sequence

import numpy as np


def uniform(seed: int, keys: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Returns uniform numbers in [0, 1), float32 `[examples, *shape]`, for each example's key."""
    return _drawn(keys, shape, lambda key: _generator(seed, key, 0).random(size=tuple(shape), dtype=np.float32))


def normal(seed: int, keys: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Returns standard normal numbers, float32 `[examples, *shape]`, for each example's key."""
    return _drawn(
        keys, shape, lambda key: _generator(seed, key, 1).standard_normal(size=tuple(shape), dtype=np.float32)
    )


def _drawn(keys: np.ndarray, shape: Sequence[int], draw: Callable[[int], np.ndarray]) -> np.ndarray:
    numbers = np.empty((len(keys), *shape), np.float32)
    for row, key in zip(numbers, keys, strict=True):
        row[...] = draw(int(key))
    return numbers


def _generator(seed: int, key: int, stream: int) -> np.random.Generator:
    # Philox is counter-based (Salmon et al., 2011): keys far or near give independent streams, at no set-up cost.
    key_words = np.array([(seed << 1) + stream, key & 0xFFFFFFFFFFFFFFFF], np.uint64)
    return np.random.Generator(np.random.Philox(key=key_words))
