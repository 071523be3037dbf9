"""What a night's comparison leads to: who is the champion afterwards, and why.

A newcomer is compared with the champion. Without one, it is compared with the baseline of its evaluation: a model
without latents, in which each value is independent of the others.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from components.config import RegistryConfig
from components.registry import canary, guards, rivals
from components.registry.champion import CHALLENGER, CHAMPION
from components.registry.decisions import judge, standing
from components.registry.decisions.history import History
from components.registry.decisions.record import Guarded, Look, Rule
from components.registry.finished import Finished
from components.registry.rivals import NotComparableError
from elboflow.settings import WorkError
from elboflow.vae.evaluation.paired import FEWEST_EXAMPLES

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

logger = logging.getLogger("elboflow.registry")


@dataclass(frozen=True)
class Outcome:
    """What a night's comparison leads to."""

    champion: int | None
    reason: str
    challenger: int | None = None
    looks: tuple[Look, ...] = ()
    values: Mapping[str, np.ndarray] | None = None
    guarded: tuple[Guarded, ...] = ()
    repeats: int | None = None
    veto: str | None = None
    left_out: tuple[int, ...] = ()


def outcome(
    history: History,
    champion: "ModelVersion | None",
    version: int,
    finished: Finished,
    rule: Rule,
    registry: RegistryConfig,
) -> Outcome:
    """Returns what comes of a newcomer.

    Args:
        history: The history before.
        champion: The champion; None if there is none.
        version: The newcomer.
        finished: The run that made it.
        rule: What the decision is made by.
        registry: Whether a baseline and a canary are asked.
    """
    without_baseline = rivals.without_baseline(finished, rule.metric)
    if champion is None and (without_baseline or not registry.baseline):
        unasked = f"; it was compared with no baseline: {without_baseline}" if registry.baseline else ""
        found = Outcome(version, f"no version of {history.model} was the {CHAMPION} when it came{unasked}")
    else:
        found = _compared(history, champion, version, finished, rule)
    if registry.canary and found.champion is not None and found.champion != history.champion:
        return _answering(history, found, found.champion)
    return found


def _compared(
    history: History, champion: "ModelVersion | None", version: int, finished: Finished, rule: Rule
) -> Outcome:
    number = standing.BASELINE if champion is None else int(champion.version)
    if number == version:
        raise ValueError(f"version {version} of {history.model} would be compared with itself")
    rival = "a baseline of independent values" if champion is None else f"version {number}, the {CHAMPION}"
    before = standing.standing(history.events, number, rule)
    kept = None if before.challenger is None else before.challenger.version
    if twin := standing.tested_before(history.events, finished.trained.weights, number, rule):
        same = f"has the same weights as version {twin.version}"
        if standing.won_without_answer(twin):
            return Outcome(version, f"{same}, which was better than {rival} and did not answer", repeats=twin.number)
        return Outcome(
            history.champion,
            f"not compared again: version {twin.version} has the same weights, and this result: {twin.reason}",
            kept,
        )
    try:
        with (
            rivals.with_baseline(finished, rule.metric)
            if champion is None
            else rivals.opened(history.client, champion, finished, rule.metric)
        ) as their:

            def scores(candidate: int) -> np.ndarray | None:
                known = {version: their.newcomer, number: their.champion}
                return known[candidate] if candidate in known else their.also(history.model, candidate)

            event = len(history.events) + 1
            slices = guards.slices(rule.guard, finished.data.dataset, their.keys)
            whole = _is_still(history, their.keys)
            night = judge.decide(
                before, event, version, number, their.keys, scores, history.values, rule, slices, whole
            )
    except NotComparableError as difference:
        by_hand = f"to promote it all the same: elboflow models promote models:/{history.model}/{version} --reason …"
        return Outcome(history.champion, f"cannot be compared with {rival}: {difference}; {by_hand}", kept)
    except rivals.SameWeightsError:
        return Outcome(history.champion, f"has the same weights as {rival}", kept)
    for why in night.left_out.values():
        logger.warning("left out of what is known of version %s, the challenger: %s", kept, why)
    looks = tuple(judge.look_at(test, rule) for test in night.tests)
    won = next((look for look in looks if look.candidate == night.champion), None)
    reason = _not_better(looks[0], rival, rule) if won is None else _better(looks, won, version, rival, rule)
    later = night.standing.challenger
    now = None if night.champion == standing.BASELINE else night.champion
    challenger = None if later is None else later.version
    found = Outcome(now, reason, challenger, looks, night.table, left_out=tuple(night.left_out))
    decisive = night.refused or next((test for test in night.tests if test.candidate.version == night.champion), None)
    return found if decisive is None else _guarded(found, decisive, rival)


def _is_still(history: History, keys: np.ndarray) -> bool:
    """Returns whether the test split has had few new examples lately; False if earlier values cannot be read."""
    earlier = standing.compared_lately(history.events)
    try:
        return earlier is not None and judge.is_still(history.values(earlier), keys)
    except WorkError as error:
        logger.warning("whether the test split has grown is not known: %s", error)
        return False


def _guarded(outcome: Outcome, decisive: judge.Test, rival: str) -> Outcome:
    """Returns an outcome with what the guards found of the candidate that won."""
    broken = [str(found) for found in decisive.guarded if found.broken]
    if not broken:
        return replace(outcome, guarded=decisive.guarded)
    version, veto = decisive.candidate.version, "; ".join(broken)
    reason = f"version {version} is better than {rival} on average, and {veto}"
    return replace(outcome, reason=reason, guarded=decisive.guarded, veto=veto)


def _answering(history: History, outcome: Outcome, version: int) -> Outcome:
    """Returns an outcome that promotes a version only if it answers when it is served."""
    logger.info("asking version %s of %s, as it would be served", version, history.model)
    why = canary.failure(history.tracking_uri, history.model, version)
    if why is None:
        return outcome
    reason = (
        f"not promoted: version {version} does not answer when it is served: {why}. "
        f"Otherwise it would have been promoted: {outcome.reason}"
    )
    return replace(outcome, champion=history.champion, reason=reason, challenger=None, veto=why)


def _better(looks: tuple[Look, ...], won: Look, newcomer: int, rival: str, rule: Rule) -> str:
    found = judge.comparison(won, rule)
    gain = f"a gain of {won.gain:.3f} after correction for selection"
    if won.candidate == newcomer:
        return f"better than {rival}: {found}; {gain}"
    nights = f"on the examples of {len(won.events)} test splits"
    ours = _not_better(looks[0], rival, rule)
    return f"{ours}. Version {won.candidate}, the {CHALLENGER}, is better than {rival} {nights}: {found}; {gain}"


def _not_better(look: Look, rival: str, rule: Rule) -> str:
    found = judge.comparison(look, rule)
    if look.high < 0:
        return f"worse than {rival}: {found}"
    needs = (
        f"p = {look.p:.2g}, where the error budget leaves {look.level:.2g} to test {look.hypothesis}"
        if look.level > 0
        else f"more was spent already than the error budget of {rule.error_budget:g}, so that no test can promote"
    )
    return f"not surely better than {rival}: {found}" + (
        f"; {needs}" if look.low > 0 and look.distinct >= FEWEST_EXAMPLES else ""
    )
