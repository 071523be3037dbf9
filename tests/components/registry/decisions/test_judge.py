"""What a night decides, on values whose truth is known."""

from datetime import UTC, datetime

import numpy as np
import pytest

from components.config import Guard
from components.registry.decisions import budget, judge, standing, tables
from components.registry.decisions.judge import Night
from components.registry.decisions.record import Event, Rule
from components.registry.decisions.standing import Standing
from components.registry.decisions.tables import KEY
from elboflow.settings import WorkError
from elboflow.vae.evaluation import paired

RULE = Rule(metric="log_likelihood", better="higher", unit="nats", confidence=0.95, error_budget=0.05)
BORDERLINE = 0.11  # as a mean difference of deviation 1, too little for one night of 1,000 examples late in life


class Nights:
    """A registered model over nights of examples that are all new."""

    def __init__(self, tested: int = 0, rule: Rule = RULE) -> None:
        self.rng, self.rule = np.random.default_rng(0), rule
        self.stored: dict[int, tables.Table] = {}
        self.standing, self.champion, self.scored = Standing(tested), 1, list[int]()

    def night(self, version: int, gains: dict[int, float], keys: np.ndarray | None = None) -> Night:
        """Decides on a version; `gains`: how much better each version is on these examples, exactly on average."""
        keys = np.arange(1000) + 1000 * version if keys is None else keys

        def scores(of: int) -> np.ndarray:
            self.scored.append(of)
            noise = self.rng.normal(size=len(keys))
            return np.zeros(len(keys)) if of == self.champion else noise - noise.mean() + gains[of]

        night = judge.decide(self.standing, version, version, self.champion, keys, scores, self.values, self.rule)
        self.stored[version], self.standing, self.champion = night.table, night.standing, night.champion
        return night

    def values(self, number: int) -> tables.Table:
        if number not in self.stored:
            raise WorkError(f"night {number} was changed")
        return self.stored[number]


def test_a_clear_gain_is_promoted_at_once():
    night = Nights().night(2, {2: 0.3})
    assert night.champion == 2
    assert night.standing == Standing(tested=1, spent=budget.share(0.05, 1))


def test_each_night_tests_a_new_hypothesis_at_a_smaller_level():
    life = Nights()
    levels = [life.night(version, {version: -0.1}).tests[0].level for version in (2, 3, 4)]
    assert levels == pytest.approx([budget.level(budget.share(0.05, hypothesis), 1) for hypothesis in (1, 2, 3)])


def test_a_budget_that_is_lowered_below_what_was_spent_promotes_nothing_until_it_is_raised():
    life = Nights()
    for version in (2, 3):
        life.night(version, {version: -0.1})
    life.rule = RULE.model_copy(update={"error_budget": 0.01})
    night = life.night(4, {4: 5.0})
    assert (night.champion, night.tests[0].level, night.standing.challenger) == (1, 0, None)
    life.rule = RULE
    assert life.night(5, {5: 0.3}).champion == 5


def test_a_challenger_keeps_the_share_that_it_was_given_when_the_budget_changes():
    life = Nights(tested=300)
    life.night(2, {2: BORDERLINE})
    life.rule = RULE.model_copy(update={"error_budget": 0.001})
    night = life.night(3, {3: -0.1, 2: BORDERLINE})
    assert night.tests[1].level == budget.level(budget.share(0.05, 301), 2)


def test_a_version_that_looked_better_is_scored_again_on_new_examples_and_promoted_on_all_of_them():
    life = Nights(tested=300)
    assert life.night(2, {2: BORDERLINE}).champion == 1
    assert life.standing.challenger is not None
    for version in (3, 4):
        night = life.night(version, {version: -0.1, 2: BORDERLINE})
    assert night.champion == 2
    assert night.tests[1].candidate.events == (2, 3, 4)
    assert len(night.tests[1].pairs[0]) == 3000
    assert night.standing.challenger is None


def test_the_challenger_is_not_scored_where_the_examples_are_the_same():
    life = Nights(tested=300)
    keys = np.arange(1000)
    life.night(2, {2: BORDERLINE}, keys)
    life.scored.clear()
    night = life.night(3, {3: -0.1}, keys)
    assert set(life.scored) == {1, 3}
    assert night.standing.challenger is not None
    assert night.standing.challenger.version == 2


def test_a_version_that_a_guard_refused_does_not_hold_the_seat_of_the_challenger():
    keys, rng = np.arange(1000), np.random.default_rng(0)
    classes = {tables.slice_column("label"): keys % 10}
    values = {1: np.zeros(1000), 2: rng.normal(1, 0.5, 1000) - 3 * (keys % 10 == 3), 3: rng.normal(0.07, 1, 1000)}
    guarded = RULE.model_copy(update={"guard": (Guard(feature="label", tolerance=0.1),)})
    before, stored = Standing(), {}
    for version in (2, 3):
        night = judge.decide(before, version, version, 1, keys, values.get, stored.__getitem__, guarded, classes)
        before, stored[version] = night.standing, night.table
        if version == 2:
            assert (night.refused is not None, before.challenger) == (True, None)
    assert before.challenger is not None
    assert before.challenger.version == 3


def test_a_newcomer_without_a_second_look_is_tested_at_its_whole_share_and_is_no_challenger():
    keys, rng = np.arange(1000), np.random.default_rng(0)
    values = {1: np.zeros(1000), 2: rng.normal(0.1, 1, 1000), 3: rng.normal(0.11, 1, 1000)}
    first = judge.decide(Standing(300), 2, 2, 1, keys, values.get, {}.__getitem__, RULE)
    second = judge.decide(first.standing, 3, 3, 1, keys, values.get, {2: first.table}.__getitem__, RULE, whole=True)
    assert second.tests[0].level == budget.share(0.05, 302) > first.tests[0].level
    assert judge.look_at(second.tests[0], RULE).share == pytest.approx(budget.share(0.05, 302))
    assert second.standing.challenger == first.standing.challenger is not None


def test_a_test_split_is_still_unless_a_fifth_of_it_is_new():
    earlier = {KEY: np.arange(1000)}
    assert judge.is_still(earlier, np.arange(1000))
    assert judge.is_still(earlier, np.arange(1199))
    assert not judge.is_still(earlier, np.arange(1200))
    assert not judge.is_still(earlier, np.arange(1000) + 1000)


def test_the_gain_of_a_winner_is_corrected_by_the_level_that_decided():
    keys, values = np.arange(1000), np.random.default_rng(0).normal(0.4, 1, 1000)
    strict = RULE.model_copy(update={"confidence": 0.9999})
    of = {1: np.zeros(1000), 2: values}
    (test,) = judge.decide(Standing(), 2, 2, 1, keys, of.get, {}.__getitem__, strict).tests
    assert test.won
    found = paired.compare(keys, values, of[1], 0.9999)
    assert judge.look_at(test, strict).gain == paired.selection_corrected(found, 0.00005)


def test_an_example_that_was_seen_before_counts_once():
    life = Nights(tested=300)
    life.night(2, {2: BORDERLINE}, np.arange(1000))
    night = life.night(3, {3: -0.1, 2: BORDERLINE}, np.arange(500, 1500))
    assert len(night.tests[1].pairs[0]) == 1500


def test_a_version_that_no_longer_looks_better_is_dropped():
    life = Nights(tested=300)
    life.night(2, {2: BORDERLINE})
    assert life.night(3, {3: -0.1, 2: -0.2}).standing.challenger is None


def test_of_two_versions_that_look_better_the_likelier_one_challenges():
    life = Nights(tested=300)
    keys = np.arange(1000)
    life.night(2, {2: 0.09}, keys)
    assert life.night(3, {3: BORDERLINE}, keys).standing.challenger.version == 3
    assert life.night(4, {4: 0.09}, keys).standing.challenger.version == 3


def test_a_challenger_that_cannot_be_scored_any_more_is_dropped():
    life = Nights(tested=300)
    life.night(2, {2: BORDERLINE})
    keys = np.arange(1000) + 5000
    values = {1: np.zeros(1000), 3: life.rng.normal(-0.1, 1, 1000), 2: None}
    night = judge.decide(life.standing, 3, 3, 1, keys, values.__getitem__, life.stored.__getitem__, RULE)
    assert night.standing.challenger is None
    assert set(night.table) == {KEY, "v1", "v3"}


def test_guarded_classes_of_several_nights_are_joined_by_name_and_not_by_code():
    cats, dogs = np.zeros(1000, np.int64), np.ones(1000, np.int64)
    better, worse = np.random.default_rng(0).normal((0.5, -0.5), 0.1, (1000, 2)).T
    zero = np.zeros(1000)
    first = {KEY: np.arange(1000), "v1": zero, "v2": better, "slice:pet": cats, "names:pet": np.array(["cat", "dog"])}
    later = {"slice:pet": np.where(np.arange(1000) < 200, cats, dogs), "names:pet": np.array(["bird", "cat"])}
    guarded = RULE.model_copy(update={"guard": (Guard(feature="pet", tolerance=0.2),)})
    before = Standing(1, standing.Candidate(2, 1, 1, (2,), 0.01, 0.01), 0.01)
    values = {1: zero, 3: -better, 2: np.where(np.arange(1000) < 200, worse, better)}
    night = judge.decide(
        before, 3, 3, 1, np.arange(1000) + 1000, values.__getitem__, {2: first}.__getitem__, guarded, later
    )
    assert [(found.name, found.examples, found.broken) for found in night.tests[1].guarded] == [
        ("bird", 200, True), ("cat", 1800, False),
    ]  # fmt: skip
    assert night.champion == 1
    numbers = {key: values for key, values in first.items() if key != "names:pet"}
    night = judge.decide(
        before, 3, 3, 1, np.arange(1000) + 1000, values.__getitem__, {2: numbers}.__getitem__, guarded, later
    )
    assert [(found.name, found.examples) for found in night.tests[1].guarded] == [("bird", 200), ("cat", 800)]


def test_a_night_whose_values_are_damaged_is_left_out_of_the_evidence():
    life = Nights(tested=300)
    life.night(2, {2: 0.08})
    life.night(3, {3: -0.1, 2: 0.08})
    del life.stored[3]
    night = life.night(4, {4: -0.1, 2: 0.08})
    assert night.left_out == {3: "night 3 was changed"}
    assert night.tests[1].candidate.events == (2, 4)
    assert len(night.tests[1].pairs[0]) == 2000


def test_a_damaged_night_that_spoke_against_the_challenger_ends_its_challenge():
    life = Nights(tested=300)
    life.night(2, {2: BORDERLINE})
    life.night(3, {3: -0.1, 2: -0.01})
    assert life.standing.challenger is not None
    del life.stored[3]
    night = life.night(4, {4: -0.1, 2: 1.0})
    assert (night.champion, night.standing.challenger, len(night.tests)) == (1, None, 1)


def test_a_challenger_of_whose_nights_none_is_left_is_dropped():
    life = Nights(tested=300)
    life.night(2, {2: BORDERLINE})
    life.stored.clear()
    night = life.night(3, {3: -0.1, 2: 1.0})
    assert (night.champion, night.standing.challenger, list(night.left_out)) == (1, None, [2])


def test_a_challenger_is_dropped_where_another_metric_decides():
    life = Nights(tested=300)
    night = life.night(2, {2: BORDERLINE})
    decided = {"version": 2, "before": 1, "champion": 1, "challenger": 2, "reason": "no", "previous": None}
    looks = tuple(judge.look_at(test, RULE) for test in night.tests)
    event = Event(number=2, kind="decision", at=datetime.now(UTC), code="1", **decided, looks=looks, rule=RULE)
    assert standing.standing([event], 1, RULE).challenger is not None
    other = RULE.model_copy(update={"metric": "elbo"})
    assert standing.standing([event], 1, other) == Standing(301, spent=pytest.approx(budget.share(0.05, 301)))


def test_where_less_is_better_the_smaller_values_win():
    by_distance = Rule(metric="distance", better="lower", unit="nats", confidence=0.95, error_budget=0.05)
    assert Nights(rule=by_distance).night(2, {2: -0.3}).champion == 2
    assert Nights(rule=by_distance).night(2, {2: 0.3}).champion == 1


def test_a_higher_confidence_asks_for_more_than_the_budget_does():
    strict = Rule(metric="log_likelihood", better="higher", unit="nats", confidence=0.9999, error_budget=0.9)
    assert Nights().night(2, {2: 0.13}).champion == 2
    assert Nights(rule=strict).night(2, {2: 0.13}).champion == 1
