"""Bootstrap intervals of metrics.

All intervals are percentile intervals from resampling the test examples (Efron and Tibshirani, 1993, chapter 13). They
cover the sampling of the test split. They do not cover the variation between trainings.

Examples with equal keys are copies of one draw from the population. Resampled as independent draws, k copies of every
example would make the interval √k too narrow. So distinct keys are resampled, each with all of its copies (the cluster
bootstrap: Davison and Hinkley, 1997, section 3.8; Cameron, Gelbach and Miller, 2008). The reported mean is over all
examples, so copies keep their weight: the sum of a resample is divided by its number of examples. If all keys are
distinct, the result is exactly that of the ordinary bootstrap.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from elboflow.settings import WorkError
from elboflow.settings.text import counted

CONFIDENCE = 0.95
# The most numbers in the count matrix of a batch of resamples: 16 MB of float64.
_COUNTS_IN_MEMORY = 2**21


@dataclass(frozen=True)
class Estimate:
    """A measured value and its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


def intervals(
    table: np.ndarray, keys: np.ndarray, samples: int, seed: int, confidence: float = CONFIDENCE
) -> list[Estimate]:
    """Returns the mean of each column with its interval, all from the same resamples.

    Args:
        table: `[examples, columns]`.
        keys: The key of each example, `[examples]`; examples with equal keys are copies.
        samples: The number of resamples.
        seed: The seed of the resamples.
        confidence: The confidence level of the intervals.

    Raises:
        WorkError: The table is empty, or has non-finite values.
    """
    check_finite(table)
    low, high = _percentiles(np.concatenate(list(resampled_means(table, keys, samples, seed))), confidence)
    return [Estimate(*map(float, row)) for row in zip(table.mean(axis=0), low, high, strict=True)]


def active_units(posterior_mean: np.ndarray, keys: np.ndarray, threshold: float, samples: int, seed: int) -> Estimate:
    """Returns the number of active latent units (Burda et al., 2016, section 5.2).

    A unit is active if the variance of its posterior mean over the examples is above a threshold.

    Args:
        posterior_mean: `[examples, latent]`.
        keys: The key of each example, `[examples]`.
        threshold: The variance above which a unit is active.
        samples: The number of resamples.
        seed: The seed of the resamples.
    """
    check_finite(posterior_mean)
    centred = posterior_mean - posterior_mean.mean(axis=0)
    latent = centred.shape[1]
    moments = np.concatenate([centred, centred**2], axis=1)
    counts = [
        np.sum(means[:, latent:] - means[:, :latent] ** 2 > threshold, axis=1)
        for means in resampled_means(moments, keys, samples, seed)
    ]
    low, high = _percentiles(np.concatenate(counts), CONFIDENCE)
    return Estimate(float(np.sum(np.mean(centred**2, axis=0) > threshold)), float(low), float(high))


def resampled_means(table: np.ndarray, keys: np.ndarray, samples: int, seed: int) -> Iterator[np.ndarray]:
    """Yields the column means of `table` `[examples, columns]` over batches of resamples, `[resamples, columns]`.

    Memory is bounded for any number of examples and resamples.
    """
    sums, copies = by_key(table, keys)
    distinct = len(sums)
    generator = np.random.default_rng(seed)
    at_once = max(1, _COUNTS_IN_MEMORY // distinct)
    for start in range(0, samples, at_once):
        resamples = min(at_once, samples - start)
        drawn = generator.integers(distinct, size=(resamples, distinct))
        drawn += distinct * np.arange(resamples)[:, None]
        # The sums of a resample are the counts of the keys times the sums by key: one matrix product for all columns.
        counts = np.bincount(drawn.ravel(), minlength=resamples * distinct).reshape(resamples, distinct)
        counts = counts.astype(np.float64)
        yield counts @ sums / (counts @ copies)[:, None]


def by_key(table: np.ndarray, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the sum of the rows of each distinct key, `[distinct, columns]`, and their number, `[distinct]`.

    Keys are in the order of their first occurrence, so a table without copies is returned unchanged.
    """
    if count_distinct(keys) == len(keys):
        return table, np.ones(len(keys))
    _, first, number = np.unique(keys, return_index=True, return_inverse=True)
    place = np.argsort(np.argsort(first))[number]
    sums = np.zeros((len(first), table.shape[1]))
    np.add.at(sums, place, table)
    return sums, np.bincount(place).astype(np.float64)


def count_distinct(keys: np.ndarray) -> int:
    """Returns the number of distinct keys. `numpy.unique` would hash them, which takes 50 times as long."""
    ordered = np.sort(keys, kind="stable")  # keys are often sorted already, or a few sorted runs
    return int(len(keys) > 0) + int(np.count_nonzero(ordered[1:] != ordered[:-1]))


def _percentiles(values: np.ndarray, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    return low, high


def check_finite(table: np.ndarray) -> None:
    """Checks that there is an interval of the columns of a table `[examples, columns]`.

    Raises:
        WorkError: The table is empty, or has non-finite values.
    """
    if not len(table):
        raise WorkError("there are no examples to draw a bootstrap interval from; at least 1 is needed")
    if not np.isfinite(table).all():
        wrong = int((~np.isfinite(table)).any(axis=1).sum())
        raise WorkError(
            f"{wrong:,} of {counted(len(table), 'example')} have values that are not finite: there is no interval "
            "of them"
        )
