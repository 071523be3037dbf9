"""Whether the history of a registered model is what its stored values say: every decision is made again.

No alias is read for it, and no tag is needed; lines that tags name must be there, though. Each line holds the digest of
the line before and of the values behind it, so that a changed byte is found in the event that it belongs to. The values
of a newcomer are also those in its evaluation, whose manifest is known by its digest.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from components.registry import versions
from components.registry.decisions import judge, standing
from components.registry.decisions.history import History
from components.registry.decisions.record import Event, Guarded, Look, digest
from components.registry.decisions.rules import RULES
from components.registry.decisions.tables import KEY, Stored, Table, column, names_column, slice_column
from elboflow.artifacts.arrays import read_arrays
from elboflow.artifacts.temporary import temporary_folder
from elboflow.settings import WorkError
from elboflow.vae.evaluation import folder as evaluations
from elboflow.vae.evaluation.folder import EXAMPLES

if TYPE_CHECKING:
    from mlflow import MlflowClient

_TOLERANCE = 1e-6  # other versions of NumPy and SciPy may round otherwise
_MOST_BYTES = 2**30
_MOST_TABLES = 8


@dataclass(frozen=True)
class Checked:
    """What a verification found.

    Attributes:
        events: The number of lines of the history.
        recomputed: The number of decisions that were made again from stored values.
        deciders: The versions of the code that made the decisions.
        problems: What is wrong, a sentence each, with the event's number, date and version.
        gone: Evaluations that MLflow does not have any more; their decisions were made again all the same.
    """

    events: int
    recomputed: int
    deciders: tuple[str, ...]
    problems: tuple[str, ...]
    gone: tuple[str, ...]


def verify(history: History) -> Checked:
    """Makes every decision of a history again, and compares.

    Raises:
        WorkError: MLflow cannot be used.
    """
    values = lru_cache(_MOST_TABLES)(history.values)  # an event's are asked for by later events, too
    problems: list[str] = []
    gone: list[str] = []
    recomputed = 0
    champion: int | None = None
    for event in history.events:
        if event.before != champion:
            problems.append(f"{named(event)}: it says that the champion was {event.before}, and that was {champion}")
        champion = event.champion
        if event.looks:
            recomputed += 1
            problems += (f"{named(event)}: {problem}" for problem in _repeated(history, event, values))
        elif not _is_founded(history, event):
            problems.append(f"{named(event)}: no comparison says that version {event.champion} is the champion")
        if event.source is not None:
            try:
                problem = _evaluation(history.client, event, values)
            except WorkError as error:
                gone.append(f"{named(event)}: {error}")
            else:
                problems += [f"{named(event)}: {problem}"] if problem else []
    problems += history.lost_lines()
    deciders = tuple(dict.fromkeys(event.code for event in history.events))
    return Checked(len(history.events), recomputed, deciders, tuple(problems), tuple(gone))


def named(event: Event) -> str:
    """Returns what messages call an event: its number, its night and its version."""
    return f"event {event.number} of {event.at:%Y-%m-%d %H:%M} UTC, on version {event.version}"


def _repeated(history: History, event: Event, values: Stored) -> Iterator[str]:
    """Yields what differs when a decision is made again."""
    if event.rule is None:
        yield "it has comparisons, but no rule"
        return

    def stored(number: int) -> Table:
        if number in event.left_out:
            raise WorkError("it was left out")
        return values(number)

    before_it = event.before or standing.BASELINE
    before = standing.standing(history.events[: event.number - 1], before_it, event.rule)
    try:
        table = values(event.number)
        keys, scores = table[KEY], lambda version: table.get(column(version))
        guarded_features = [guard.feature for guard in event.rule.guard]
        slices = {name: table[name] for name in map(slice_column, guarded_features)}
        slices |= {name: table[name] for name in map(names_column, guarded_features) if name in table}
        whole, rules = event.looks[0].spends == "whole", RULES[event.format]
        night = judge.decide(
            before, event.number, event.version, before_it, keys, scores, stored, event.rule, slices, whole, rules
        )
    except WorkError as error:
        yield str(error)
        return
    except (KeyError, ValueError) as error:
        yield f"its stored values are not those of such a decision: {error}"
        return
    if missing := [number for number in night.left_out if number not in event.left_out]:
        numbers = ", ".join(map(str, missing))
        yield f"it was decided by the values of event {numbers}, too, which cannot be used any more"
        return
    if whole and _has_grown(history, event, keys, values):
        yield "it spent the whole share at once, and its test split had grown enough for a second look"
    looks = [judge.look_at(test, event.rule, rules) for test in night.tests]
    if len(looks) != len(event.looks):
        yield f"{len(looks)} comparisons follow from the stored values, and it has {len(event.looks)}"
        return
    for again, recorded in zip(looks, event.looks, strict=True):
        yield from _differences(again, recorded)
    decisive = night.refused or next((test for test in night.tests if test.candidate.version == night.champion), None)
    guarded = () if decisive is None else decisive.guarded
    for found, said in zip(guarded, event.guarded, strict=False):
        # Without names in the stored values, the name is that of the newcomer's dataset, which is not asked here.
        yield from _differences(found, said if found.name else said.model_copy(update={"name": None}))
    if len(event.guarded) != len(guarded):
        yield "other classes are guarded in the stored values than it says"
    champion = (night.champion or None) if event.veto is None else event.before
    if champion != event.champion:
        yield f"version {champion} follows as the champion from the stored values; it says {event.champion}"
    challenger = None if night.standing.challenger is None else night.standing.challenger.version
    if challenger != event.challenger:
        yield f"the challenger that follows from the stored values is {challenger}; it says {event.challenger}"


def _has_grown(history: History, event: Event, keys: np.ndarray, values: Stored) -> bool:
    """Returns whether an event's test split had new examples lately; False if the earlier values cannot be read."""
    earlier = standing.compared_lately(history.events[: event.number - 1])
    if earlier is None:
        return True
    try:
        return not judge.is_still(values(earlier), keys)
    except WorkError:
        return False  # told of the earlier event


def _is_founded(history: History, event: Event) -> bool:
    """Returns whether a decision without comparisons may have led to its champion."""
    if event.kind != "decision" or event.champion == event.before:
        return True
    if event.repeats is None:
        return event.before is None  # the first version
    first = next((earlier for earlier in history.events[: event.number - 1] if earlier.number == event.repeats), None)
    if first is None or first.source is None or event.source is None or not standing.won_without_answer(first):
        return False
    ours = event.source.weights, event.before, event.rule, event.champion
    return ours == (first.source.weights, first.before, first.rule, event.version)


def _differences(again: Look | Guarded, recorded: Look | Guarded) -> Iterator[str]:
    for name, expected in again:
        found = getattr(recorded, name)
        if isinstance(expected, float) and isinstance(found, float):
            same = math.isclose(expected, found, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE**2)
        else:
            same = expected == found
        if not same:
            whose = f"version {recorded.candidate}" if isinstance(recorded, Look) else f"class {recorded.code}"
            yield f"the {name} of {whose} was recorded as {found}, and is {expected}"


def _evaluation(client: "MlflowClient", event: Event, values: Stored) -> str | None:
    """Returns what is wrong with the evaluation of a newcomer; None if nothing is.

    Raises:
        WorkError: MLflow does not have it any more.
    """
    source = event.source
    if source is None or source.mlflow_run is None:
        raise WorkError("the run that made it is not known")
    with temporary_folder() as temporary:
        place = versions.evaluation_folder(client, source.mlflow_run, temporary)
        manifest = place / "evaluation.json"
        if not manifest.is_file():
            raise WorkError(f"MLflow does not have the evaluation in its run {source.mlflow_run}")
        if digest(manifest.read_bytes()) != source.evaluation:
            return f"the evaluation in its run {source.mlflow_run} was changed since then: evaluation.json"
        try:
            evaluations.load(place)
            if event.values is None or event.rule is None:
                return None
            arrays = read_arrays(place / EXAMPLES, _MOST_BYTES, (KEY, event.rule.metric))
        except (WorkError, OSError) as error:
            return f"the evaluation in its run {source.mlflow_run} is damaged: {str(error).replace(str(place), '…')}"
        try:
            kept = values(event.number)
        except WorkError:
            return None  # told where the decision is made again
        order = np.argsort(arrays[KEY], kind="stable")
        if not np.array_equal(arrays[event.rule.metric][order], kept[column(event.version)]):
            return f"the evaluation in its run {source.mlflow_run} has other values than the decision was made by"
    return None
