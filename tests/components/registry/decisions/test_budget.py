"""The error budget is shared out so that all tests together never exceed it, also if it is changed."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.registry.decisions import budget


def test_the_shares_of_any_number_of_hypotheses_are_within_the_budget():
    spent = math.fsum(budget.share(0.05, hypothesis) for hypothesis in range(1, 100_001))
    rest = 0.05 / 5.59 * 5 * 100_000**-0.2  # an integral bounds what all later ones get
    assert spent < 0.05
    assert spent + rest == pytest.approx(0.05, rel=0.01)


def test_the_looks_at_a_hypothesis_are_within_its_share():
    share = budget.share(0.05, 3)
    assert math.fsum(budget.level(share, look) for look in range(1, 60)) == pytest.approx(share)
    assert budget.share_of(budget.level(share, 4), 4) == pytest.approx(share)


def test_a_year_of_nights_leaves_a_level_at_which_a_clear_gain_is_found():
    assert budget.level(budget.share(0.05, 365), 1) > 1e-6


@given(st.lists(st.floats(0.001, 0.5), min_size=1, max_size=40))
def test_all_shares_together_never_exceed_the_budget_in_force_nor_what_was_spent_when_it_was_lowered(
    budgets: list[float],
):
    spent = 0.0
    for hypothesis, in_force in enumerate(budgets, 1):
        share = budget.share(in_force, hypothesis, spent)
        assert 0 <= share <= budget.share(in_force, hypothesis) * (1 + 1e-12)
        assert spent + share <= max(in_force, spent) * (1 + 1e-12)
        spent += share


def test_a_budget_that_was_never_changed_is_shared_out_as_if_nothing_were_known_of_what_was_spent():
    spent = 0.0
    for hypothesis in range(1, 1000):
        share = budget.share(0.05, hypothesis, spent)
        assert share == pytest.approx(budget.share(0.05, hypothesis), rel=1e-9)
        spent += share


def test_a_lowered_budget_leaves_what_was_not_spent_and_nothing_if_more_was():
    spent = math.fsum(budget.share(0.05, hypothesis) for hypothesis in range(1, 11))
    lowered = spent + 0.001
    later = 0.0
    for hypothesis in range(11, 5000):
        later += budget.share(lowered, hypothesis, spent + later)
    assert 0.0005 < later < 0.001
    assert budget.share(0.9 * spent, 11, spent) == 0


def test_a_raised_budget_does_not_make_up_for_what_was_saved():
    spent = math.fsum(budget.share(0.01, hypothesis) for hypothesis in range(1, 11))
    assert budget.share(0.05, 11, spent) == budget.share(0.05, 11)
