"""The paired test of a newcomer against a champion, by their values on the same test examples.

The test statistic is the empirical likelihood ratio of the mean difference (Owen, 1990): the weights nearest to equal
ones under which the mean of the differences is zero. It follows the skewness of the sample, which a normal or a
percentile interval does not. The sample is extended by one example that was not seen, ten deviations on the losing
side (as in the adjusted empirical likelihood of Chen, Variyath and Abraham, 2008, whose extra point lies nearer). A
rare failure of a newcomer may be absent from the test split, and then the sample alone cannot tell. With this example,
a newcomer wins only if the verdict would survive one such failure. `benchmarks.promotion` measures the error rates, and
`docs/promotion.md` has the argument.

Examples with equal keys are copies of one draw from the population: they count as one example, the sum of its copies.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from elboflow.settings import WorkError, html
from elboflow.settings.text import counted
from elboflow.vae.evaluation.bootstrap import by_key, check_finite

# With fewer distinct examples, the distribution of the test statistic is not known well enough.
FEWEST_EXAMPLES = 20
# The place of the unseen example. Chosen by simulation: the least at which all error rates of the benchmark, of which
# some come from rare failures and from log-normal tails, are below 3 % where 2.5 % is promised.
_UNSEEN_DEVIATIONS = 10.0
_NEWTON_STEPS = 100
_TOLERANCE = 1e-10


@dataclass(frozen=True)
class Comparison:
    """The comparison of a newcomer with a champion on the same examples.

    Attributes:
        difference: The mean of newcomer minus champion; above 0 the newcomer is better on average.
        low: The lower end of the interval of the difference.
        high: The upper end of the interval.
        confidence: The confidence level of the interval.
        p: The p-value of the hypothesis that the newcomer is not better.
        deviation: The standard error of the difference.
        examples: The number of pairs.
        distinct: The number of distinct examples among the pairs.
        unit: The unit of the difference and its interval.
    """

    difference: float
    low: float
    high: float
    confidence: float
    p: float
    deviation: float
    examples: int
    distinct: int
    unit: str = "nats"

    def better(self, level: float) -> bool:
        """Returns whether the newcomer is better at a level, on enough examples; the interval must be above 0 too."""
        return self.low > 0 and self.p <= level and self.distinct >= FEWEST_EXAMPLES

    def _repr_html_(self) -> str:
        """Returns the difference as a notebook shows it."""
        unit = f" {self.unit}" if self.unit else ""
        rows = [
            ("difference", f"{self.difference:+.3f}{unit}"),
            (f"{self.confidence:.0%} interval", f"{self.low:+.3f} … {self.high:+.3f}"),
            ("p-value of not being better", f"{self.p:.2g}"),
            ("examples", f"{self.examples:,}, {self.distinct:,} of them distinct"),
        ]
        return html.table("Newcomer minus champion", (), rows)

    def __str__(self) -> str:
        interval = f"{self.confidence:.0%} interval {self.low:+.3f} to {self.high:+.3f}"
        copies = f", {self.distinct:,} of them distinct" if self.distinct < self.examples else ""
        few = f", too few to tell (at least {FEWEST_EXAMPLES})" if self.distinct < FEWEST_EXAMPLES else ""
        unit = f" {self.unit}" if self.unit else ""
        return f"{self.difference:+.3f}{unit}, {interval}, {counted(self.examples, 'example')}{copies}{few}"


def compare(
    keys: np.ndarray, newcomer: np.ndarray, champion: np.ndarray, confidence: float, unit: str = "nats"
) -> Comparison:
    """Compares two models by their values `[examples]` on the same examples in the same order (see `aligned`).

    The difficulty of an example is common to both models and cancels in the difference. So the test detects much
    smaller differences than two separate intervals.

    Args:
        keys: The key of each example, `[examples]`.
        newcomer: The values of the newcomer, `[examples]`.
        champion: The values of the champion, `[examples]`.
        confidence: The confidence level of the interval.
        unit: The unit of the values.

    Raises:
        WorkError: There are no examples, or values are not finite.
    """
    sums, copies = _differences(keys, newcomer, champion)
    mean = float(sums.sum() / copies.sum())
    error = _spread(sums - mean * copies) * math.sqrt(len(sums)) / float(copies.sum())
    low, high = _interval(sums, copies, mean, error, confidence)
    return Comparison(mean, low, high, confidence, _p_value(sums), error, len(keys), len(sums), unit)


def p_value(keys: np.ndarray, newcomer: np.ndarray, champion: np.ndarray) -> tuple[float, float, int]:
    """Returns the p-value, the difference and the number of distinct examples, as `compare` does, without the interval.

    The p-value is at least 2^-n: the chance that n differences are all above zero where each sign is equally likely.

    Raises:
        WorkError: There are no examples, or values are not finite.
    """
    sums, copies = _differences(keys, newcomer, champion)
    return _p_value(sums), float(sums.sum() / copies.sum()), len(sums)


def selection_corrected(comparison: Comparison, level: float) -> float:
    """Returns the difference, corrected for being shown only because the newcomer won at a level; at least 0.

    Winners are selected for a large difference, so that the plain mean of winners is too large. This is the
    median-unbiased estimate given that the difference is beyond the one that just wins (Zhong and Prentice, 2008).
    """
    from scipy.optimize import brentq
    from scipy.special import log_ndtr, ndtri

    error = comparison.deviation
    if error <= 0 or comparison.difference <= 0:
        return max(comparison.difference, 0.0)
    # By how much the difference exceeds the one that just wins, in standard errors.
    beyond = max(float(ndtri(level) - ndtri(comparison.p)), 0.0)
    found, wins = comparison.difference / error, comparison.difference / error - beyond

    def too_large(true: float) -> float:
        return float(log_ndtr(true - found) - log_ndtr(true - wins)) + math.log(2)

    if too_large(0.0) > 0:
        return 0.0
    return float(brentq(too_large, 0.0, found + 1)) * error


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


def _differences(keys: np.ndarray, newcomer: np.ndarray, champion: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the summed difference of each distinct example, `[distinct]`, and its number of copies, `[distinct]`."""
    if newcomer.shape != champion.shape:
        raise ValueError(f"paired values must come in the same shape; found {newcomer.shape} and {champion.shape}")
    differences = (newcomer - champion)[:, None]
    check_finite(differences)
    sums, copies = by_key(differences, keys)
    return sums[:, 0], copies


def _p_value(sums: np.ndarray) -> float:
    from scipy.special import ndtr

    return max(float(ndtr(-_root(sums))), math.ldexp(1.0, -len(sums))) if len(sums) > 1 else 1.0


def _interval(
    sums: np.ndarray, copies: np.ndarray, mean: float, error: float, confidence: float
) -> tuple[float, float]:
    """Returns the ends of the interval: the means that the two-sided test at that confidence does not reject."""
    from scipy.special import ndtri

    if len(sums) < 2 or error <= _TOLERANCE * max(abs(mean), 1e-300):
        return mean, mean
    critical = float(ndtri((1 + confidence) / 2))

    def beyond(sign: int) -> Callable[[float], float]:
        return lambda errors: abs(_root(sums - (mean + sign * errors * error) * copies)) - critical

    return mean - _crossing(beyond(-1)) * error, mean + _crossing(beyond(1)) * error


def _crossing(function: Callable[[float], float]) -> float:
    """Returns where a function of a positive number changes from below zero to above it."""
    from scipy.optimize import brentq

    above = 4.0
    while function(above) < 0:
        above *= 2
    return float(brentq(function, 0.0, above, xtol=1e-6))


def _root(sums: np.ndarray) -> float:
    """Returns the signed root of the test statistic for a mean of zero: standard normal if zero is the mean.

    It is 0 where the unseen example lets the sample say nothing, and infinite where no weights give a mean of zero.
    """
    mean, spread = float(sums.mean()), _spread(sums)
    sign = 1.0 if mean > 0 else -1.0
    seen = sign * sums  # mirrored, so that the mean is above zero and the unseen example below it
    points = np.append(seen, sign * mean - _UNSEEN_DEVIATIONS * spread)
    if points.sum() <= 0:
        return 0.0
    lowest = float(points.min())
    if lowest >= 0:
        return sign * math.inf
    points /= -lowest
    # The weights are 1 / n(1 + multiplier·point): all positive for a multiplier in [0, 1).
    low, high, multiplier = 0.0, 1.0, 0.0
    for _ in range(_NEWTON_STEPS):
        ratio = points / (1 + multiplier * points)
        slope = ratio.sum()
        low, high = (multiplier, high) if slope > 0 else (low, multiplier)
        step = multiplier + slope / np.dot(ratio, ratio)
        found = step if low < step < high else (low + high) / 2
        if abs(found - multiplier) <= _TOLERANCE * (1 - found):
            break
        multiplier = found
    return sign * math.sqrt(max(2 * float(np.log1p(multiplier * points).sum()), 0.0))


def _spread(values: np.ndarray) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else 0.0
