"""Bootstrap intervals of metrics, and the paired test of a newcomer against a champion.

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
# With fewer distinct examples, a percentile interval is markedly too narrow, so no model is called better.
FEWEST_EXAMPLES = 20
# The most numbers in the count matrix of a batch of resamples: 16 MB of float64.
_COUNTS_IN_MEMORY = 2**21


@dataclass(frozen=True)
class Estimate:
    """A measured value and its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """The comparison of a newcomer with a champion on the same examples.

    Attributes:
        difference: The mean of newcomer minus champion; above 0 the newcomer is better on average.
        low: The lower end of the interval of the difference.
        high: The upper end of the interval.
        confidence: The confidence level of the interval.
        examples: The number of pairs.
        distinct: The number of distinct examples among the pairs.
        unit: The unit of the difference and its interval.
    """

    difference: float
    low: float
    high: float
    confidence: float
    examples: int
    distinct: int
    unit: str = "nats"

    @property
    def better(self) -> bool:
        """Whether the newcomer is better: the interval is above 0, and there are enough examples for the interval."""
        return self.low > 0 and self.distinct >= FEWEST_EXAMPLES

    def __str__(self) -> str:
        interval = f"{self.confidence:.0%} interval {self.low:+.3f} to {self.high:+.3f}"
        copies = f", {self.distinct:,} of them distinct" if self.distinct < self.examples else ""
        few = f", too few to tell (at least {FEWEST_EXAMPLES})" if self.distinct < FEWEST_EXAMPLES else ""
        unit = f" {self.unit}" if self.unit else ""
        return f"{self.difference:+.3f}{unit}, {interval}, {counted(self.examples, 'example')}{copies}{few}"


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
    _check(table)
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
    _check(posterior_mean)
    centred = posterior_mean - posterior_mean.mean(axis=0)
    latent = centred.shape[1]
    moments = np.concatenate([centred, centred**2], axis=1)
    counts = [
        np.sum(means[:, latent:] - means[:, :latent] ** 2 > threshold, axis=1)
        for means in resampled_means(moments, keys, samples, seed)
    ]
    low, high = _percentiles(np.concatenate(counts), CONFIDENCE)
    return Estimate(float(np.sum(np.mean(centred**2, axis=0) > threshold)), float(low), float(high))


def paired(
    keys: np.ndarray, newcomer: np.ndarray, champion: np.ndarray, confidence: float, samples: int, seed: int
) -> Comparison:
    """Compares two models by their values `[examples]` on the same examples in the same order (see `aligned`).

    The difficulty of an example is common to both models and cancels in the difference. So the test detects much
    smaller differences than two separate intervals.

    Args:
        keys: The key of each example, `[examples]`.
        newcomer: The values of the newcomer, `[examples]`.
        champion: The values of the champion, `[examples]`.
        confidence: The confidence level of the interval.
        samples: The number of resamples.
        seed: The seed of the resamples.

    Raises:
        WorkError: There are no examples, or values are not finite.
    """
    if newcomer.shape != champion.shape:
        raise ValueError(f"paired values must come in the same shape; found {newcomer.shape} and {champion.shape}")
    (estimate,) = intervals((newcomer - champion)[:, None], keys, samples, seed, confidence)
    distinct = len(np.unique(keys))
    return Comparison(estimate.value, estimate.low, estimate.high, confidence, len(newcomer), distinct)


def aligned(
    newcomer_keys: np.ndarray, newcomer: np.ndarray, champion_keys: np.ndarray, champion: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the sorted keys, and the values of both models in the order of the keys, so that rows are pairs.

    Args:
        newcomer_keys: The keys of the examples in the newcomer's evaluation, `[examples]`.
        newcomer: The values of the newcomer, in the order of `newcomer_keys`.
        champion_keys: The keys of the examples in the champion's evaluation, `[examples]`, in any order.
        champion: The values of the champion, in the order of `champion_keys`.

    Raises:
        WorkError: The two models were evaluated on different examples.
    """
    order, champion_order = np.argsort(newcomer_keys, kind="stable"), np.argsort(champion_keys, kind="stable")
    if not np.array_equal(newcomer_keys[order], champion_keys[champion_order]):
        common = len(np.intersect1d(newcomer_keys, champion_keys))
        raise WorkError(
            f"newcomer and champion were evaluated on different examples: {len(newcomer_keys):,} and "
            f"{len(champion_keys):,}, of which {common:,} are the same; evaluate both on the same test split"
        )
    return newcomer_keys[order], newcomer[order], champion[champion_order]


def resampled_means(table: np.ndarray, keys: np.ndarray, samples: int, seed: int) -> Iterator[np.ndarray]:
    """Yields the column means of `table` `[examples, columns]` over batches of resamples, `[resamples, columns]`.

    Memory is bounded for any number of examples and resamples.
    """
    sums, copies = _by_key(table, keys)
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


def _by_key(table: np.ndarray, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the sum of the rows of each distinct key, `[distinct, columns]`, and their number, `[distinct]`.

    Keys are in the order of their first occurrence, so a table without copies is returned unchanged.
    """
    _, first, number = np.unique(keys, return_index=True, return_inverse=True)
    place = np.argsort(np.argsort(first))[number]
    sums = np.zeros((len(first), table.shape[1]))
    np.add.at(sums, place, table)
    return sums, np.bincount(place).astype(np.float64)


def _percentiles(values: np.ndarray, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    return low, high


def _check(table: np.ndarray) -> None:
    if not len(table):
        raise WorkError("there are no examples to draw a bootstrap interval from; at least 1 is needed")
    if not np.isfinite(table).all():
        wrong = int((~np.isfinite(table)).any(axis=1).sum())
        raise WorkError(
            f"{wrong:,} of {counted(len(table), 'example')} have values that are not finite: there is no interval "
            "of them"
        )
