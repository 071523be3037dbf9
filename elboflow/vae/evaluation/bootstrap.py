"""Bootstrap intervals of what an evaluation measures, and the paired test of a newcomer against a champion.

All are percentile intervals from resampling the test examples (Efron and Tibshirani, 1993, chapter 13). They cover the
luck of which examples the test split holds; they do not cover the luck of a training.

Examples with one key are one draw from the population, seen several times: as independent draws they would make an
interval of k copies √k too narrow. So what is resampled is distinct keys, each with all of its examples (the cluster
bootstrap: Davison and Hinkley, 1997, section 3.8; Cameron, Gelbach and Miller, 2008). Copies keep their weight,
because an interval must be that of the mean that is reported, which is over all examples; a resample is divided by
the number of examples that it holds. Where every key is distinct this is the ordinary bootstrap, number for number.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from elboflow.settings import WorkError
from elboflow.settings.text import counted

CONFIDENCE = 0.95
# Distinct examples below which a percentile interval is markedly too narrow, so that nothing is called better by it.
FEWEST_EXAMPLES = 20
# Numbers in the table of counts of one batch of resamples: 16 MB of float64.
_COUNTS_IN_MEMORY = 2**21


@dataclass(frozen=True)
class Estimate:
    """A measured value and its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """A newcomer against a champion on the same examples.

    Attributes:
        difference: Mean over the examples of newcomer minus champion; above 0 the newcomer is ahead.
        low: Lower end of the interval of the difference.
        high: Upper end.
        confidence: Of the interval.
        examples: Number of pairs.
        distinct: Number of distinct examples among them.
        unit: Of the difference and its interval.
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
        """Whether the newcomer is better: the whole interval lies above 0, over enough examples to trust it."""
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
        keys: The identity of each example, `[examples]`: examples with one key are copies.
        samples: Number of resamples.
        seed: Fixes the resamples.
        confidence: Of the intervals.

    Raises:
        WorkError: The table is empty, or holds values that are not finite.
    """
    _check(table)
    low, high = _percentiles(np.concatenate(list(resampled_means(table, keys, samples, seed))), confidence)
    return [Estimate(*map(float, row)) for row in zip(table.mean(axis=0), low, high, strict=True)]


def active_units(posterior_mean: np.ndarray, keys: np.ndarray, threshold: float, samples: int, seed: int) -> Estimate:
    """Returns how many units have a posterior mean that varies over the examples (Burda et al., 2016, section 5.2).

    Args:
        posterior_mean: `[examples, latent]`.
        keys: The identity of each example, `[examples]`.
        threshold: Least variance of an active unit.
        samples: Number of resamples.
        seed: Fixes the resamples.
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

    What makes an example hard is hard for both models and cancels in the difference, so that much smaller differences
    can be told than from two separate intervals.

    Args:
        keys: The identity of each example, `[examples]`.
        newcomer: The newcomer's values.
        champion: The champion's values.
        confidence: Of the interval.
        samples: Number of resamples.
        seed: Fixes the resamples.

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
    """Returns the examples' keys in order, and the values of both models in that order, so that rows are pairs.

    Args:
        newcomer_keys: Identities of the examples that the newcomer was evaluated on, `[examples]`.
        newcomer: Its values, in the order of its keys.
        champion_keys: The same for the champion, in an order of its own.
        champion: Its values.

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
    """Yields the means of the columns of `table` `[examples, columns]` over resamples of its keys, `[some, columns]`.

    Memory stays bounded for any number of examples and of resamples.
    """
    sums, copies = _by_key(table, keys)
    distinct = len(sums)
    generator = np.random.default_rng(seed)
    at_once = max(1, _COUNTS_IN_MEMORY // distinct)
    for start in range(0, samples, at_once):
        resamples = min(at_once, samples - start)
        drawn = generator.integers(distinct, size=(resamples, distinct))
        drawn += distinct * np.arange(resamples)[:, None]
        # How often a resample holds each key, times the sums of that key, is its sums: one product for all columns.
        counts = np.bincount(drawn.ravel(), minlength=resamples * distinct).reshape(resamples, distinct)
        counts = counts.astype(np.float64)
        yield counts @ sums / (counts @ copies)[:, None]


def _by_key(table: np.ndarray, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the sums of the rows of each distinct key, `[distinct, columns]`, and how many they are, `[distinct]`.

    Keys stand in the order in which they first occur: a table without copies comes back as it is.
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
