"""The order in which an epoch shows the examples: a function of (seed, epoch), for any number of machines.

The examples are cut into lanes, contiguous ranges of equal size; a batch takes equally many of each, in an order of the
lane's own. A machine that owns some of the lanes thus has its part of every batch, and needs no other example. With the
examples of a dataset in the order of a hash, as they are, this is stratified sampling without replacement.
"""

import numpy as np

from elboflow.vae.compute.parallelism import lanes


def bounds(examples: int, batch_size: int) -> np.ndarray:
    """Returns where each lane begins, and where the last one ends: int64 `[lanes + 1]`."""
    count = lanes(batch_size)
    return np.arange(count + 1, dtype=np.int64) * examples // count


def rows(seed: int, epoch: int, examples: int, batch_size: int, owned: range) -> np.ndarray:
    """Returns the examples of each batch of an epoch that lie in some lanes, int32 `[steps, batch]`.

    Args:
        seed: Of the training.
        epoch: From 1.
        examples: Of the whole split.
        batch_size: Of the whole batch.
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
