"""What the history of a registered model leaves for the next night: the budget, the challenger, known weights."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from components.registry.decisions import budget
from components.registry.decisions.record import Event, Rule

BASELINE = 0
"""The number that stands for the baseline in the place of a champion."""
LATELY = 7
"""Comparisons within which a test split must grow by a fifth to make a second look worth waiting for."""


@dataclass(frozen=True)
class Candidate:
    """A version that was compared with the champion.

    Attributes:
        version: The version.
        hypothesis: The number of the hypothesis that it is not better.
        look: The number of looks at it so far.
        events: The numbers of the events whose values were compared.
        share: The hypothesis' share of the error budget.
        p: The p-value of the last look.
        whole: Whether the first look is the only one, at the whole share.
    """

    version: int
    hypothesis: int
    look: int
    events: tuple[int, ...]
    share: float
    p: float = 1.0
    whole: bool = False

    @property
    def level(self) -> float:
        """The level of this look: its part of the share."""
        return self.share if self.whole else budget.level(self.share, self.look)


@dataclass(frozen=True)
class Standing:
    """What a night begins with.

    Attributes:
        tested: The number of hypotheses that were tested so far.
        challenger: The challenger, if there is one.
        spent: What was spent of the error budget.
    """

    tested: int = 0
    challenger: Candidate | None = None
    spent: float = 0.0


def standing(events: Sequence[Event], champion: int, rule: Rule) -> Standing:
    """Returns what a history leaves for the next night, in which a version is the champion.

    A challenger of another metric has no values that could be pooled with the next night's, and is dropped.
    """
    tested = next((event.looks[0].hypothesis for event in reversed(events) if event.looks), 0)
    without = Standing(tested, spent=spent(events))
    if not events or events[-1].challenger is None or (events[-1].champion or BASELINE) != champion:
        return without
    challenger = events[-1].challenger
    of_it = ((event, look) for event in reversed(events) for look in event.looks if look.candidate == challenger)
    event, look = next(of_it)
    if event.rule is None or event.rule.metric != rule.metric:
        return without
    found = Candidate(look.candidate, look.hypothesis, look.look, look.events, look.share, look.p)
    return replace(without, challenger=found)


def spent(events: Sequence[Event]) -> float:
    """Returns what was spent of the error budget: the shares of all hypotheses, each of the budget of its time."""
    return sum(event.looks[0].share for event in events if event.looks)


def compared_lately(events: Sequence[Event]) -> int | None:
    """Returns the number of the seventh last event with a comparison, or of the first where there are fewer."""
    compared = [event.number for event in events if event.looks]
    return compared[-LATELY:][0] if compared else None


def tested_before(events: Sequence[Event], weights: str, champion: int, rule: Rule) -> Event | None:
    """Returns the event that compared the same weights with the same champion, if there is one.

    A version that won, and did not answer when it was served, counts only if the rule is the same: else it is compared
    again.
    """
    for event in events:
        if (
            event.looks
            and event.source is not None
            and event.source.weights == weights
            and (event.before or BASELINE) == champion
            and (not _is_silent(event) or (won_without_answer(event) and event.rule == rule))
        ):
            return event
    return None


def won_without_answer(event: Event) -> bool:
    """Returns whether the newcomer, and no other candidate, won, and was not promoted because it did not answer."""
    return _is_silent(event) and [look.candidate for look in event.looks if look.won] == [event.version]


def _is_silent(event: Event) -> bool:
    return event.veto is not None and not any(found.broken for found in event.guarded)
