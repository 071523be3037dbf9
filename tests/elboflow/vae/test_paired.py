"""The paired test of a newcomer against a champion, on data whose truth is known."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as trying
from hypothesis import strategies as st

from elboflow.settings import WorkError
from elboflow.vae.evaluation import paired


def compare(newcomer, champion, confidence=0.95, keys=None):
    """Compares values of distinct examples, or of those of the keys."""
    return paired.compare(np.arange(len(newcomer)) if keys is None else keys, newcomer, champion, confidence)


def p_value(differences):
    """Returns the p-value of differences of distinct examples."""
    return paired.p_value(np.arange(len(differences)), differences, np.zeros(len(differences)))[0]


def hard_and_easy(examples=200):
    """Values of a champion: the spread between examples is far larger than the differences to be told."""
    return np.random.default_rng(7).normal(-100, 20, size=examples)


@pytest.mark.parametrize(
    ("shift", "better"), [(0.5, True), (-0.5, False), (0.0, False)], ids=["ahead", "behind", "indistinguishable"]
)
def test_a_newcomer_is_better_only_when_it_is_clearly_ahead(shift, better):
    champion = hard_and_easy()
    noise = np.random.default_rng(8).normal(size=len(champion))
    compared = compare(champion + shift + noise - noise.mean(), champion)
    assert compared.difference == pytest.approx(shift)
    assert compared.low < compared.difference < compared.high
    assert compared.better(0.025) is better


def test_the_interval_ends_where_the_test_of_that_level_ends():
    values = np.random.default_rng(1).standard_t(4, size=300) + 0.4
    compared = compare(values, np.zeros(300))
    assert p_value(values - compared.low) == pytest.approx(0.025, rel=1e-3)
    assert p_value(compared.high - values) == pytest.approx(0.025, rel=1e-3)


def test_with_very_many_examples_the_interval_is_that_of_the_normal_approximation():
    values = np.random.default_rng(2).normal(size=200_000)
    compared = compare(values, np.zeros_like(values))
    half = 1.96 * values.std() / math.sqrt(len(values))
    assert compared.low == pytest.approx(values.mean() - half, abs=0.05 * half)
    assert compared.high == pytest.approx(values.mean() + half, abs=0.05 * half)


def test_an_identical_newcomer_is_not_better():
    champion = hard_and_easy()
    compared = compare(champion, champion.copy())
    assert (compared.difference, compared.low, compared.high, compared.better(0.5)) == (0, 0, 0, False)


def test_few_examples_never_make_a_newcomer_better_and_it_says_so():
    compared = compare(np.full(5, 2.0), np.full(5, 1.0))
    assert not compared.better(0.5)
    assert "too few" in str(compared)


def test_one_failure_that_was_not_seen_would_not_turn_the_verdict():
    values = np.random.default_rng(3).normal(0.3, 1, size=171)
    assert values.mean() / (values.std(ddof=1) / math.sqrt(171)) > 3  # clear for a test that trusts the sample
    assert not compare(values, np.zeros(171)).better(0.001)
    failed = np.append(values, values.mean() - 10 * values.std(ddof=1))
    assert failed.mean() / (failed.std(ddof=1) / math.sqrt(172)) < 3


@pytest.mark.parametrize("examples", [171, 1000])
@pytest.mark.parametrize("tail", ["log-normal", "rare failures"])
def test_a_newcomer_that_fails_badly_on_few_examples_is_rarely_taken_for_a_better_one(tail, examples):
    rng = np.random.default_rng(4)
    draws = {
        "log-normal": lambda: math.exp(0.5) - np.exp(rng.normal(size=examples)),
        "rare failures": lambda: rng.normal(0.2, 1, size=examples) - 20 * (rng.random(examples) < 0.01),
    }
    won = [p_value(draws[tail]()) <= 0.025 for _ in range(1000)]
    assert np.mean(won) <= 0.03 + 2 * math.sqrt(0.03 * 0.97 / 1000)


def test_the_test_is_about_a_mean_and_not_about_signs():
    values = np.where(np.arange(1000) < 990, 0.1, -20.0)  # better on nearly all examples, and worse on average
    assert compare(values, np.zeros(1000)).high < 0.05
    assert not compare(values, np.zeros(1000)).better(0.5)


@trying(max_examples=50, deadline=None)
@given(seed=st.integers(0, 999), examples=st.integers(20, 200), scale=st.floats(1e-6, 1e6))
def test_newcomer_and_champion_exchanged_give_the_mirrored_interval_in_any_unit(seed, examples, scale):
    values = np.random.default_rng(seed).gamma(2.0, size=examples) - 2.0
    one, other = compare(values, np.zeros(examples)), compare(np.zeros(examples), scale * values)
    mirrored = -other.high / scale, -other.low / scale, -other.difference / scale
    assert (one.low, one.high, one.difference) == pytest.approx(mirrored, rel=1e-3, abs=1e-5)


@trying(max_examples=50, deadline=None)
@given(distinct=st.integers(20, 60), copies=st.integers(2, 5), seed=st.integers(0, 99))
def test_copies_of_all_examples_leave_the_comparison_as_it_was(distinct, copies, seed):
    rng = np.random.default_rng(seed)
    values, rows = rng.normal(0.2, 1, size=distinct), rng.permutation(np.repeat(np.arange(distinct), copies))
    once, again = compare(values, 0 * values), compare(values[rows], 0.0 * values[rows], keys=rows)
    assert (again.difference, again.low, again.high, again.p) == pytest.approx(
        (once.difference, once.low, once.high, once.p), rel=1e-6, abs=1e-9
    )
    assert (again.examples, again.distinct) == (distinct * copies, distinct)


def test_copies_of_few_examples_never_make_a_newcomer_better_and_it_says_so():
    compared = compare(np.full(30, 2.0), np.full(30, 1.0), keys=np.repeat(np.arange(3), 10))
    assert not compared.better(0.5)
    assert str(compared).endswith("30 examples, 3 of them distinct, too few to tell (at least 20)")


def test_copies_are_compared_like_distinct_examples_once_there_are_enough():
    compared = compare(np.full(50, 2.0), np.full(50, 1.0), keys=np.repeat(np.arange(25), 2))
    assert compared.better(0.025)
    assert str(compared).endswith("50 examples, 25 of them distinct")


def test_the_gain_of_a_clear_winner_is_hardly_corrected_and_that_of_a_narrow_one_much():
    rng = np.random.default_rng(5)
    noise = rng.normal(size=1000)
    noise -= noise.mean()
    clear, narrow = compare(noise + 0.5, 0 * noise), compare(noise + 0.11, 0 * noise)
    assert paired.selection_corrected(clear, 0.005) == pytest.approx(0.5, rel=0.01)
    assert narrow.better(0.005)
    assert 0 <= paired.selection_corrected(narrow, 0.005) < 0.08


def test_aligned_values_are_pairs_whatever_the_order_of_the_examples():
    keys = np.random.default_rng(10).permutation(np.arange(-50, 50))
    order = np.random.default_rng(11).permutation(100)
    ordered, newcomer, champion = paired.aligned(keys, keys * 2.0, keys[order], keys[order] * 2.0)
    np.testing.assert_array_equal(newcomer, champion)
    np.testing.assert_array_equal(newcomer, ordered * 2.0)


def test_different_examples_cannot_be_compared():
    with pytest.raises(WorkError, match=r"different examples: 4 and 5, of which 3 are the same"):
        paired.aligned(np.arange(4), np.zeros(4), np.arange(1, 6), np.zeros(5))


@pytest.mark.parametrize(
    ("values", "message"), [(np.array([]), "no examples"), (np.array([1.0, np.nan, np.inf]), "2 of 3 examples")]
)
def test_what_cannot_be_compared_is_an_error(values, message):
    with pytest.raises(WorkError, match=message):
        compare(values, np.zeros(len(values)))
