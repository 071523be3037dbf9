"""How often noise is promoted, and how soon a true gain is: the paired test and the error budget, by simulation.

    python -m benchmarks.promotion [--quick] [--json FILE] [--only size power years gain]

`size`: how often the test calls a newcomer better that is not, where 2.5 % is promised, for differences with rare
failures and with heavy tails. `power`: the true gain that it finds in nine of ten trials, beside that of a test of the
normal distribution. `years`: in how many years of 365 nights without any gain a newcomer is promoted, with a fixed, a
growing and a fresh test split; and the same where each night is tested alone. `gain`: after how many nights a true gain
of 0.1 nats is promoted, in the first nights of a registered model and after a year, on the three kinds of split; on a
fixed one also for a bound that no rule can beat. All decisions are those of the product's own functions.
"""

import math
import multiprocessing
import statistics
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing.pool import Pool
from typing import get_args

import numpy as np
from scipy.special import ndtr, ndtri

from benchmarks.promotion.life import EXAMPLES, Life, Split, failing, plain
from benchmarks.report import Figure, options, publish
from components.registry.decisions.record import Rule
from components.registry.decisions.standing import Standing
from elboflow.vae.evaluation import paired

PROMISED, ALLOWED = 2.5, 3.0
"""Percent of equally good newcomers that may be called better: what is promised, and what a simulation may find."""
BUDGET = 0.05
RULE = Rule(metric="log_likelihood", better="higher", unit="nats", confidence=0.95, error_budget=BUDGET)
NIGHTS = 365
GAIN = 0.1
MOST_TIMES = 2.0
"""How much longer than with a fixed level a gain may take on fresh test splits; on others no rule attains it."""
LIVES = 1000
"""Lives on fresh splits, also of a quick run: fewer give no sure number of nights for nine of ten."""
LATEST = 60
"""Nights after which a gain counts as promoted at last."""

Draw = Callable[[np.random.Generator, int], np.ndarray]
DIFFERENCES: dict[str, Draw] = {
    "normal": lambda rng, n: rng.normal(size=n),
    "t(3)": lambda rng, n: rng.standard_t(3, size=n),
    "log-normal(1) left tail": lambda rng, n: math.exp(0.5) - np.exp(rng.normal(size=n)),
    "log-normal(1.5) left tail": lambda rng, n: math.exp(1.125) - np.exp(1.5 * rng.normal(size=n)),
    "1 % of examples 20 deviations worse": lambda rng, n: rng.normal(0.2, 1, size=n) - 20 * (rng.random(n) < 0.01),
}
"""Differences with a mean of zero, by name."""


def main() -> None:
    """Runs the benchmark from the command line."""
    parts = ("size", "power", "years", "gain")
    arguments = options(__doc__, quick="a tenth of the trials", data=False, parts=parts)
    trials = 100 if arguments.quick else 1000
    figures: list[Figure] = []
    with multiprocessing.Pool() as pool:
        if "size" in arguments.only:
            figures += sizes(10 * trials, pool)
        if "power" in arguments.only:
            figures += powers(trials)
        if "years" in arguments.only:
            figures += years(trials, pool)
        if "gain" in arguments.only:
            figures += gains(trials, pool)
    publish(figures, arguments.json)


def sizes(trials: int, pool: Pool) -> Iterator[Figure]:
    cases = [(name, examples) for examples in (171, EXAMPLES) for name in DIFFERENCES]
    for (name, examples), size in zip(cases, pool.map(partial(_size, trials=trials), cases, 1), strict=True):
        yield Figure(f"equal, called better: {name}, n = {examples}", 100 * size, "%", ALLOWED, at_most=True)


def _size(case: tuple[str, int], trials: int) -> float:
    name, examples = case
    rng, keys, zero = np.random.default_rng(examples), np.arange(examples), np.zeros(examples)
    found = [paired.p_value(keys, DIFFERENCES[name](rng, examples), zero)[0] for _ in range(trials)]
    return float(np.mean([p <= PROMISED / 100 for p in found]))


def powers(trials: int) -> Iterator[Figure]:
    for examples in (171, EXAMPLES):
        keys, rng = np.arange(examples), np.random.default_rng(examples)
        noise = rng.normal(size=(trials, examples))
        # A gain is found where the interval of the noise alone, moved by the gain, is above zero.
        least = [-paired.compare(keys, row, 0 * row, 1 - 2 * PROMISED / 100).low for row in noise]
        normal = float(ndtri(0.9) - ndtri(PROMISED / 100)) / math.sqrt(examples)
        found = float(np.quantile(least, 0.9))
        yield Figure(f"gain found in 9 of 10 trials, n = {examples}", found, "deviations")
        yield Figure(f"by a test of the normal distribution, n = {examples}", normal, "deviations")


def years(trials: int, pool: Pool) -> Iterator[Figure]:
    kinds = [(split, plain) for split in get_args(Split)] + [("fresh", failing)]
    for split, noise in kinds:
        name = f"{split} split" + (", newcomers fail on 1 %" if noise is failing else "")
        seeds = range(trials if noise is plain else trials // 4)
        ours = pool.map(partial(_year, split=split, noise=noise), seeds, chunksize=5)
        alone = pool.map(partial(_year_alone, split=split, noise=noise), range(trials // 4), chunksize=5)
        wrong = 100 * statistics.fmean(promoted > 0 for promoted in ours)
        yield Figure(f"years with a false promotion, {name}", wrong, "%", 100 * BUDGET, at_most=True)
        yield Figure("  each night tested alone", 100 * statistics.fmean(promoted > 0 for promoted in alone), "%")
        yield Figure("  false promotions a year then", statistics.fmean(alone), "")


def _year(seed: int, split: Split, noise: Draw) -> int:
    """Returns the number of promotions in a year without any gain."""
    life = Life(RULE, split, np.random.default_rng(seed), noise)
    return sum(life.night() for _ in range(NIGHTS))


def _year_alone(seed: int, split: Split, noise: Draw) -> int:
    """Returns the same where each night is tested alone."""
    life = Life(RULE, split, np.random.default_rng(seed), noise)
    return sum(life.night_alone() for _ in range(NIGHTS))


def gains(trials: int, pool: Pool) -> Iterator[Figure]:
    for split in get_args(Split):
        for when, tested in (("in the first nights", 0), (f"after {NIGHTS} nights without one", NIGHTS)):
            lives = LIVES if split == "fresh" else trials // 3
            waits = pool.map(partial(_waited, tested=tested, split=split), range(lives), chunksize=5)
            ours, alone = (np.array(nights) for nights in zip(*waits, strict=True))
            nine, usual = _of_nine(ours), _of_nine(alone)
            yield Figure(f"gain of {GAIN} promoted {when}, {split} split, in 9 of 10 lives", nine, "nights")
            yield Figure("  each night tested alone", usual, "nights")
            limit = MOST_TIMES if split == "fresh" else None
            yield Figure("  times as many", nine / usual, "times", limit, at_most=True)
            yield Figure("  in half of the lives", float(np.quantile(ours, 0.5, method="inverted_cdf")), "nights")
            yield Figure("  on average", float(ours.mean()), "nights")
            yield Figure("  on average, each night tested alone", float(alone.mean()), "nights")
    bound = _least_waits(100 * trials)
    yield Figure(f"the same on a fixed split with the best level that is the same in {NIGHTS} nights", bound, "nights")


def _of_nine(nights: np.ndarray) -> float:
    return float(np.quantile(nights, 0.9, method="inverted_cdf"))


def _waited(seed: int, tested: int, split: Split) -> tuple[int, int]:
    """Returns the nights until a gain is promoted, at most LATEST: by the product, and each night tested alone."""
    ours, alone = (
        Life(RULE, split, np.random.default_rng(seed), standing=Standing(tested), version=1 + tested) for _ in range(2)
    )
    waited = next((night for night in range(1, LATEST) if ours.night(GAIN)), LATEST)
    return waited, next((night for night in range(1, LATEST) if alone.night_alone(GAIN)), LATEST)


def _least_waits(lives: int) -> float:
    """Returns the nights until a gain is promoted in nine of ten lives, by a bound on what any rule attains.

    All newcomers are compared with one champion on one fixed split, so that all differences have the champion's noise
    in common. The threshold is the lowest one that is the same in each night of a year and exceeded by noise in 5 % of
    the years: it is found by simulation from the true distribution of the largest difference, which no rule knows.
    """
    rng = np.random.default_rng(0)
    champion = rng.normal(0, math.sqrt(0.5), lives)
    largest = math.sqrt(0.5) * ndtri(rng.random(lives) ** (1 / NIGHTS)) - champion
    threshold = np.quantile(largest, 1 - BUDGET)
    chance = ndtr((GAIN * math.sqrt(EXAMPLES) - champion - threshold) / math.sqrt(0.5))
    return _of_nine(rng.geometric(np.maximum(chance, 1e-12)))


if __name__ == "__main__":
    main()
