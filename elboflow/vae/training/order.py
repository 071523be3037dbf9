"""The order of the examples in an epoch: a function of (seed, epoch), independent of the number of machines.

The examples are divided into lanes, contiguous ranges of equal size. Each epoch permutes each lane, and a batch takes
the same number of examples from every lane. A machine owns some of the lanes, so it has its part of every batch, and
needs no other examples. The examples of a dataset are sorted by a hash, so this is stratified sampling without
replacement.
"""

import numpy as np

from elboflow.vae.compute.parallelism import lanes


def bounds(examples: int, batch_size: int) -> np.ndarray:
    """Returns the start of each lane, and the end of the last lane, int64 `[lanes + 1]`."""
    count = lanes(batch_size)
    return np.arange(count + 1, dtype=np.int64) * examples // count


def rows(seed: int, epoch: int, examples: int, batch_size: int, owned: range) -> np.ndarray:
    """Returns the indices of the examples from some lanes in each batch of an epoch, int32 `[steps, batch]`.

    Args:
        seed: The seed of the training.
        epoch: The epoch, from 1.
        examples: The number of examples of the whole split.
        batch_size: The size of the whole batch.
        owned: The lanes.
    """
    places, each = bounds(examples, batch_size), batch_size // lanes(batch_size)
    steps = examples // batch_size
    return np.concatenate(
        [
            (places[lane] + _permutation(seed, epoch, lane, places[lane + 1] - places[lane])[: steps * each])
            .astype(np.int32)
            .reshape(steps, each)
            for lane in owned
        ],
        axis=1,
    )


def _permutation(seed: int, epoch: int, lane: int, count: int) -> np.ndarray:
    key = np.array([seed, (epoch << 16) + lane], np.uint64)
    return np.random.Generator(np.random.Philox(key=key)).permutation(count)
