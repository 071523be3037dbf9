"""Random numbers of evaluation: a function of seed and example, independent of backend, order and batch.

Two models that are evaluated on the same examples get the same binarised bits and the same noise. This common noise
cancels in their comparison. Training draws its random numbers on the device instead (`elboflow.vae.compute`).
"""

from collections.abc import Sequence

import numpy as np

from elboflow.vae.terms import Draw

_KINDS = ("uniform", "normal")


def drawn(draws: Sequence[Draw], seed: int, keys: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the numbers of each draw for each example's key, float32.

    Returns:
        By name, `[examples, samples, …]`, or `[examples, …]` if all samples share them. The numbers of a draw depend on
        its position among the draws of its kind: two models whose first normal draw is z get the same noise.

    Raises:
        ValueError: Two draws have the same name.
    """
    names = [draw.name for draw in draws]
    if twice := sorted(name for name in set(names) if names.count(name) > 1):
        raise ValueError(f"two draws have the name {twice[0]!r}; their names must differ")
    counts = dict.fromkeys(_KINDS, 0)
    numbers = {}
    for draw in draws:
        stream = 2 * counts[draw.kind] + _KINDS.index(draw.kind)
        counts[draw.kind] += 1
        numbers[draw.name] = _drawn(seed, keys, draw.of_example, stream)
    return numbers


def _drawn(seed: int, keys: np.ndarray, shape: Sequence[int], stream: int) -> np.ndarray:
    numbers = np.empty((len(keys), *shape), np.float32)
    is_uniform = stream % 2 == _KINDS.index("uniform")
    for row, key in zip(numbers, keys, strict=True):
        generator = _generator(seed, int(key), stream)
        draw = generator.random if is_uniform else generator.standard_normal
        row[...] = draw(size=tuple(shape), dtype=np.float32)
    return numbers


def _generator(seed: int, key: int, stream: int) -> np.random.Generator:
    # Philox is counter-based (Salmon et al., 2011): any two keys give independent streams, without a set-up cost.
    # Streams 0 and 1 keep the keys of older versions, which had no other streams.
    first = (seed << 1) + stream % 2
    key_words = np.array([(first + (stream // 2 << 48)) & 0xFFFFFFFFFFFFFFFF, key & 0xFFFFFFFFFFFFFFFF], np.uint64)
    return np.random.Generator(np.random.Philox(key=key_words))
