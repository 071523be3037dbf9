"""Which candidate becomes the champion: a function of what was tested before and of the values of examples.

The candidates of a night are the newcomer and, if there is one, the challenger: an earlier version that looked better
than the champion, but not surely. Once a test split has new examples, the challenger is scored on them too, and
compared on all examples that it and the champion have been scored on. This finds a gain that no single test split can
prove.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

import numpy as np

from components.config import Guard
from components.registry.decisions import budget
from components.registry.decisions.record import Guarded, Look, Rule
from components.registry.decisions.rules import CURRENT, Rules
from components.registry.decisions.standing import Candidate, Standing
from components.registry.decisions.tables import (
    KEY,
    Stored,
    Table,
    column,
    have_grown,
    joined,
    pooled,
    slice_column,
    usable,
)
from elboflow.vae.evaluation import paired
from elboflow.vae.evaluation.paired import FEWEST_EXAMPLES, Comparison

Scores = Callable[[int], np.ndarray | None]
"""Returns a version's values of tonight's examples `[examples]`; None if it cannot be scored on them."""

# A version with a larger p-value is unlikely to be found better later; one night in ten has one where all are equal.
_WORTH_ANOTHER_LOOK = 0.1


@dataclass(frozen=True)
class Test:
    """A test of the hypothesis that a candidate is not better than the champion.

    Attributes:
        candidate: The candidate, with this look.
        level: The level: this look's part of the error budget.
        difference: The mean of candidate minus champion, larger being better.
        won: Whether the candidate is better.
        pairs: Keys, and the values of candidate and champion, larger being better, `[examples]` each.
        guarded: What the guards found on each class; empty if it did not win.
    """

    candidate: Candidate
    level: float
    difference: float
    won: bool
    pairs: tuple[np.ndarray, np.ndarray, np.ndarray]
    guarded: tuple[Guarded, ...] = ()

    @property
    def is_refused(self) -> bool:
        """Whether it won, and a guard is broken."""
        return any(found.broken for found in self.guarded)


@dataclass(frozen=True)
class Night:
    """A decision.

    Attributes:
        champion: The champion afterwards.
        refused: The test whose candidate won and broke a guard, if no other candidate was promoted.
        tests: The tests, the newcomer's first.
        table: The values of this night.
        standing: What the next night begins with.
        left_out: The events whose stored values of the challenger cannot be used, and why not.
    """

    champion: int
    refused: Test | None
    tests: tuple[Test, ...]
    table: Table
    standing: Standing
    left_out: Mapping[int, str] = field(default_factory=dict)


def decide(
    before: Standing,
    number: int,
    newcomer: int,
    champion: int,
    keys: np.ndarray,
    scores: Scores,
    stored: Stored,
    rule: Rule,
    slices: Table | None = None,
    whole: bool = False,
    rules: Rules = CURRENT,
) -> Night:
    """Tests the candidates of a night.

    Args:
        before: What was tested before.
        number: The number of the event under which the values of this night are stored.
        newcomer: The newcomer.
        champion: The champion.
        keys: The identities of the test examples, `[examples]`.
        scores: Gives the values of a version on these examples; those of newcomer and champion must be there.
        stored: Gives the values of earlier nights.
        rule: What the decision is made by.
        slices: The guarded class of each example, int64 `[examples]`, by `slice_column`; -1: of none. The names of the
            classes by `names_column`, where they have names.
        whole: Whether the newcomer gets one look at its whole share. It must not depend on any value of an example.
        rules: The rules of the format.
    """
    table = {KEY: keys, **(slices or {})}
    for version in (newcomer, champion):
        if (values := scores(version)) is None:
            raise ValueError(f"version {version} has no values of these examples")
        table[column(version)] = values
    tested = before.tested + 1
    share = budget.share(rule.error_budget, tested, before.spent)
    tests = [_test(Candidate(newcomer, tested, 1, (number,), share, whole=whole), [table], champion, rule)]
    former = before.challenger
    earlier, left_out = usable(() if former is None else former.events, stored)
    if former is not None and left_out:
        former = _without(former, list(earlier.values()), tuple(earlier), champion, rule)
    if former is not None and have_grown(list(earlier.values()), keys):
        if (values := scores(former.version)) is not None:
            table[column(former.version)] = values
            tables = [*earlier.values(), table]
            again = replace(former, look=former.look + 1, events=(*former.events, number))
            tests.append(_test(again, tables, champion, rule))
        former = None
    # Of two, the newcomer: it was made of newer data.
    won = next((test.candidate.version for test in tests if test.won and not test.is_refused), None)
    refused = next((test for test in tests if test.is_refused), None) if won is None else None
    challenger = None if won is not None else _challenger(tests, former, rules)
    standing = Standing(tested, challenger, before.spent + share)
    return Night(champion if won is None else won, refused, tuple(tests), table, standing, left_out)


def is_still(earlier: Table, keys: np.ndarray) -> bool:
    """Returns whether a test split has so few new examples since an earlier night that no second look will come soon.

    It asks which examples there are, and not what their values are: so it may decide how a share is spent.
    """
    return not have_grown([earlier], keys)


def look_at(test: Test, rule: Rule, rules: Rules = CURRENT) -> Look:
    """Returns a test as it is recorded, with the interval of the difference."""
    level = test.level if rules.gain_by_share else _largest_p(test.level, rule)
    candidate, found = test.candidate, paired.compare(*test.pairs, rule.confidence, rule.unit)
    return Look(
        candidate=candidate.version,
        hypothesis=candidate.hypothesis,
        look=candidate.look,
        events=candidate.events,
        level=test.level,
        p=found.p,
        difference=found.difference,
        low=found.low,
        high=found.high,
        deviation=found.deviation,
        examples=found.examples,
        distinct=found.distinct,
        gain=paired.selection_corrected(found, level) if test.won else None,
        spends="whole" if candidate.whole else "part",
    )


def comparison(look: Look, rule: Rule) -> Comparison:
    """Returns a recorded test as the comparison that it holds."""
    numbers = look.model_dump(include={"difference", "low", "high", "p", "deviation", "examples", "distinct"})
    return Comparison(**numbers, confidence=rule.confidence, unit=rule.unit)


def _test(candidate: Candidate, tables: Sequence[Table], champion: int, rule: Rule) -> Test:
    level = candidate.level
    names = {}
    for feature in dict.fromkeys(guard.feature for guard in rule.guard):
        tables, names[feature] = joined(tables, feature)
    sliced = [slice_column(guard.feature) for guard in rule.guard]
    keys, ours, theirs, *slices = pooled(tables, column(candidate.version), column(champion), *sliced)
    sign = -1 if rule.better == "lower" else 1
    pairs = keys, sign * ours, sign * theirs
    p, difference, distinct = paired.p_value(*pairs)
    won = level > 0 and p <= _largest_p(level, rule) and distinct >= FEWEST_EXAMPLES
    looked = replace(candidate, p=p)
    if not won:
        return Test(looked, level, difference, won, pairs)
    by_guard = zip(rule.guard, slices, strict=True)
    guarded = [_guarded(guard, classes, names[guard.feature], pairs[1] - pairs[2]) for guard, classes in by_guard]
    return Test(looked, level, difference, won, pairs, tuple(chain.from_iterable(guarded)))


def _largest_p(level: float, rule: Rule) -> float:
    """Returns the largest p-value that wins: at half of what the interval leaves out, the interval is above zero."""
    return min(level, (1 - rule.confidence) / 2)


def _guarded(
    guard: Guard, classes: np.ndarray, names: Sequence[str] | None, differences: np.ndarray
) -> Iterator[Guarded]:
    for code in np.unique(classes[classes >= 0]):
        of_class = differences[classes == code]
        yield Guarded(
            feature=guard.feature,
            code=int(code),
            name=None if names is None else names[code],
            examples=len(of_class),
            difference=float(of_class.mean()),
            tolerance=guard.tolerance,
        )


def _without(
    former: Candidate, tables: Sequence[Table], events: tuple[int, ...], champion: int, rule: Rule
) -> Candidate | None:
    """Returns the challenger with the nights alone whose values can be used; None where it is dropped.

    It is dropped if nothing is left, or if the rest says more for it than all nights together did: the loss of a
    night never counts in its favour.
    """
    if not tables:
        return None
    p = _test(replace(former, events=events), tables, champion, rule).candidate.p
    return replace(former, events=events, p=p) if p >= former.p else None


def _challenger(tests: Sequence[Test], former: Candidate | None, rules: Rules) -> Candidate | None:
    """Returns the candidate that is worth another look once there are new examples."""
    worthy = [
        test.candidate
        for test in tests
        if test.difference > 0
        and test.level > 0
        and not test.candidate.whole
        and (rules.refused_may_challenge or not test.is_refused)
    ]
    worthy += [] if former is None else [former]
    best = min(worthy, key=lambda candidate: candidate.p, default=None)
    return best if best is not None and best.p <= _WORTH_ANOTHER_LOOK else None
