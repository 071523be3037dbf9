"""Intervals of metrics, on data whose truth is known."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as trying
from hypothesis import strategies as st

from elboflow.settings import WorkError
from elboflow.vae.evaluation import bootstrap, metrics
from elboflow.vae.evaluation.bootstrap import Estimate
from elboflow.vae.evaluation.folder import FORMAT
from elboflow.vae.evaluation.metrics import Metric


def interval(values, samples, seed, keys=None):
    """Returns the interval of values; the examples are distinct where no keys are given."""
    (estimate,) = bootstrap.intervals(values[:, None], np.arange(len(values)) if keys is None else keys, samples, seed)
    return estimate


def test_a_95_percent_interval_covers_the_true_mean_about_95_times_in_100():
    rng = np.random.default_rng(1)
    trials = [interval(rng.normal(3.0, 2.0, size=80), samples=400, seed=seed) for seed in range(600)]
    covered = np.mean([trial.low <= 3.0 <= trial.high for trial in trials])
    assert 0.91 <= covered <= 0.98


def test_the_interval_of_many_examples_is_that_of_the_normal_approximation():
    values = np.random.default_rng(2).normal(size=5000)
    estimate = interval(values, samples=4000, seed=0)
    half = 1.96 * values.std() / np.sqrt(len(values))
    assert estimate.value == pytest.approx(values.mean())
    assert estimate.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert estimate.high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_the_same_seed_gives_the_same_interval_and_another_seed_another():
    values = np.random.default_rng(3).normal(size=100)
    assert interval(values, 200, seed=7) == interval(values, 200, seed=7)
    assert interval(values, 200, seed=7) != interval(values, 200, seed=8)


def test_an_interval_does_not_depend_on_how_much_is_held_in_memory(monkeypatch):
    values = np.random.default_rng(4).normal(size=101)
    at_once = interval(values, 300, seed=0)
    monkeypatch.setattr(bootstrap, "_COUNTS_IN_MEMORY", 700)
    in_parts = interval(values, 300, seed=0)
    assert (in_parts.low, in_parts.high) == pytest.approx((at_once.low, at_once.high), rel=1e-12)


def test_active_units_are_those_whose_posterior_mean_varies_by_more_than_the_threshold():
    rng = np.random.default_rng(5)
    deviations = np.array([1.0, 0.5, 0.12, 0.08, 0.0])  # variances 1, 0.25, 0.0144 above; 0.0064, 0 below 0.01
    means = 100 + rng.normal(size=(4000, 5)) * deviations
    assert bootstrap.active_units(means, np.arange(len(means)), 0.01, samples=200, seed=0) == Estimate(3.0, 3.0, 3.0)


def test_a_unit_near_the_threshold_widens_the_interval_of_active_units():
    means = np.random.default_rng(6).normal(size=(50, 4)) * np.array([1.0, 0.1, 0.1, 0.0])
    estimate = bootstrap.active_units(means, np.arange(len(means)), 0.01, samples=500, seed=0)
    assert (estimate.low, estimate.high) == (1.0, 3.0)


@trying(max_examples=50, deadline=None)
@given(examples=st.integers(1, 60), columns=st.integers(1, 3), seed=st.integers(0, 99), data=st.data())
def test_without_copies_the_resamples_are_those_of_the_ordinary_bootstrap_bit_for_bit(examples, columns, seed, data):
    table = np.random.default_rng(seed).normal(size=(examples, columns))
    keys = np.array(data.draw(st.permutations(range(examples))))
    drawn = np.random.default_rng(seed).integers(examples, size=(40, examples))
    counts = np.stack([np.bincount(rows, minlength=examples) for rows in drawn]).astype(np.float64)
    (found,) = bootstrap.resampled_means(table, keys, 40, seed)
    np.testing.assert_array_equal(found, counts @ table / examples)


@trying(max_examples=50, deadline=None)
@given(distinct=st.integers(2, 40), copies=st.integers(2, 12), seed=st.integers(0, 99))
def test_copies_of_all_examples_leave_every_interval_as_wide_as_it_was(distinct, copies, seed):
    rng = np.random.default_rng(seed)
    values, means, keys = rng.normal(size=distinct), rng.normal(size=(distinct, 3)), rng.permutation(distinct)
    rows = np.concatenate([np.arange(distinct), rng.permutation(np.repeat(np.arange(distinct), copies - 1))])
    once = interval(values, 300, seed, keys)
    again = interval(values[rows], 300, seed, keys[rows])
    assert (again.value, again.low, again.high) == pytest.approx((once.value, once.low, once.high))
    units = bootstrap.active_units(means[rows], keys[rows], 0.9, 100, seed)
    assert units == bootstrap.active_units(means, keys, 0.9, 100, seed)


def test_an_interval_over_unevenly_copied_examples_covers_the_mean_of_what_they_are_drawn_from():
    rng = np.random.default_rng(12)
    covered = []
    for trial in range(400):
        keys = np.repeat(np.arange(80), rng.integers(1, 20, 80))
        values = rng.normal(3.0, 2.0, size=80)[keys]
        estimate = interval(values, samples=400, seed=trial, keys=keys)
        covered.append(estimate.low <= 3.0 <= estimate.high)
    assert 0.9 <= np.mean(covered) <= 0.98  # as independent draws, these examples would cover it in half of the trials


@pytest.mark.parametrize(
    ("values", "message"), [(np.array([]), "no examples"), (np.array([1.0, np.nan, np.inf]), "2 of 3 examples")]
)
def test_what_has_no_interval_is_an_error(values, message):
    with pytest.raises(WorkError, match=message):
        interval(values, 100, seed=0)


def test_metrics_survive_being_written_and_read(tmp_path):
    import json

    written = {
        "elbo": Metric(-1.5, -2.0, -1.0, "ELBO", "nats per example", "higher", "Training maximised it.", 3, "fours"),
        "active_units": Metric(4.0, 3.0, 5.0),
    }
    (tmp_path / "metrics.json").write_text(json.dumps(metrics.as_json(written)), encoding="utf-8")
    assert metrics.read(tmp_path / "metrics.json", FORMAT.newest) == written
    assert list(metrics.read(tmp_path / "metrics.json", FORMAT.newest)) == list(written)
    assert metrics.values(written) == {"elbo": -1.5, "active_units": 4.0}


def test_what_older_evaluations_do_not_say_of_their_metrics_is_added_to_those_alone(tmp_path):
    (tmp_path / "metrics.json").write_text('{"elbo": {"value": -1.5, "low": -2.0, "high": -1.0}}', encoding="utf-8")
    described = {"elbo": Metric(-1.5, -2.0, -1.0, unit="nats per example", better="higher")}
    assert metrics.read(tmp_path / "metrics.json", 1) == metrics.read(tmp_path / "metrics.json", 2) == described
    assert metrics.read(tmp_path / "metrics.json", FORMAT.newest) == {"elbo": Metric(-1.5, -2.0, -1.0)}


@pytest.mark.parametrize(
    ("metric", "shown"),
    [
        (Metric(-21238.44, -21268.1, -21207.9), ("-21,238.4", "-21,268.1", "-21,207.9")),
        (Metric(-23.3312, -24.524, -22.014), ("-23.33", "-24.52", "-22.01")),
        (Metric(0.551234, 0.549, 0.5534), ("0.55123", "0.54900", "0.55340")),
        (Metric(1.5e6, 1.1e6, 1.9e6), ("1,500,000", "1,100,000", "1,900,000")),
        (Metric(12.0, 11.0, 13.0, decimals=0), ("12", "11", "13")),
        (Metric(-1.5, -1.5, -1.5), ("-1.50", "-1.50", "-1.50")),
        (Metric(1.0, 1.0, 1.0 + 1e-12), ("1.00000000", "1.00000000", "1.00000000")),
    ],
)
def test_a_metric_is_shown_with_the_digits_that_its_interval_needs(metric, shown):
    assert metric.shown == shown


@pytest.mark.parametrize("content", [None, "{", "[]", '{"elbo": 3}', '{"elbo": {"value": 1, "low": 0}}'])
def test_damaged_metrics_are_an_error_that_names_the_file(tmp_path, content):
    path = tmp_path / "metrics.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(WorkError, match=r"metrics\.json"):
        metrics.read(path, FORMAT.newest)


def test_comparing_two_evaluated_models_loads_no_framework():
    code = (
        "import sys, elboflow.vae.evaluation.paired, elboflow.vae.evaluation.metrics;"
        "print([name for name in ('keras', 'tensorflow', 'jax', 'torch', 'matplotlib') if name in sys.modules])"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True).stdout == "[]\n"
    )
