"""The champion of a registered model: the alias and the tags of its versions, which follow its history."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from components.registry import cards
from components.registry.cards import CHAMPION
from components.registry.decisions.history import LINE, UNFINISHED, History, open_history, sealed
from components.registry.decisions.record import Event, Kind
from components.surroundings.code_version import code_version
from components.tracking.store import quoted
from components.tracking.upserts import upsert
from elboflow.settings import RequestError, WorkError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CHALLENGER = "challenger"
_LATEST = 20
"""Versions of which a decision asks whether their lines are there; `verify` asks all."""
PROMOTED, REASON = "elboflow.promoted", "elboflow.reason"
"""The tags of a version that hold the verdict, `true` or `false`, and the reason for it."""


def champion_of(client: "MlflowClient", name: str) -> "ModelVersion | None":
    """Returns the version of a registered model that has the alias `champion`, or None."""
    version = client.get_registered_model(name).aliases.get(CHAMPION)
    return None if version is None else client.get_model_version(name, str(version))


def found_elsewhere(history: History, champion: int | None) -> Event | None:
    """Returns the event that says where the alias was found, if that is not where it was left."""
    if champion == history.champion:
        return None
    if champion is None:
        version, reason = history.champion or 0, f"the alias {CHAMPION!r} was removed by hand"
    elif history.events:
        version, reason = champion, f"the alias {CHAMPION!r} was moved by hand"
    else:
        version, reason = champion, "was the champion before the history began"
    return by_person(history, "seen", version, champion, reason)


def record_seen(history: History, seen: Event) -> History:
    """Returns the history with where the alias was found; the tags of that version say that it was promoted."""
    history = history.with_event(seen)
    if seen.champion is not None:
        move_alias(history, seen)
    return history


def by_person(history: History, kind: Kind, version: int, champion: int | None, reason: str) -> Event:
    """Returns the event of a change that no comparison decided."""
    return Event(
        number=len(history.events) + 1,
        kind=kind,
        at=datetime.now(UTC),
        code=code_version(),
        version=version,
        before=history.champion,
        champion=champion,
        reason=reason,
        previous=history.last,
    )


def move_alias(history: History, event: Event) -> None:
    """Lets the tags of the versions, and the aliases, follow an event; the aliases only if it is the last one."""
    client, name = history.client, history.model
    promoted = event.champion is not None and event.champion != event.before
    verdicts = {event.version: event.champion == event.version}
    if promoted and event.champion is not None:
        verdicts[event.champion] = True
    upsert(client.set_model_version_tag, name, str(event.version), LINE, sealed(event))
    for number in verdicts:
        upsert(client.set_model_version_tag, name, str(number), REASON, event.reason)
    registered = client.get_registered_model(name)
    if event.number == len(history.events):
        aliases = registered.aliases
        for alias, version in ((CHAMPION, event.champion), (CHALLENGER, event.challenger)):
            if version is not None and _version(client, name, version):  # a challenger may have been deleted by hand
                if str(version) != str(aliases.get(alias)):
                    upsert(client.set_registered_model_alias, name, alias, str(version))
            elif alias in aliases:
                client.delete_registered_model_alias(name, alias)
    is_described = event.kind == "decision" and event.champion == event.version  # when it is registered
    if promoted and event.champion is not None and not is_described and _version(client, name, event.champion):
        cards.promoted(client, name, event.champion, event.reason)
    for number, verdict in verdicts.items():
        upsert(client.set_model_version_tag, name, str(number), PROMOTED, str(verdict).lower())
    if registered.tags.get(UNFINISHED) == sealed(event):
        client.delete_registered_model_tag(name, UNFINISHED)


def finish_interrupted(history: History) -> Event | None:
    """Moves aliases and tags after the last event, if the process that wrote its line was killed before it did.

    Without it, the alias, which is still where it was, would be taken for one that was moved by hand. An alias that is
    elsewhere was moved by hand since: it stays.

    Returns:
        The event that was finished; None if none was interrupted.

    Raises:
        WorkError: A version was decided on by a line that is not there any more.
    """
    for lost in history.lost_lines(_LATEST):
        raise WorkError(lost)
    last = history.events[-1] if history.events else None
    registered = history.client.get_registered_model(history.model)
    if last is None or registered.tags.get(UNFINISHED) != sealed(last):
        return None
    alias = registered.aliases.get(CHAMPION)
    where = None if alias is None else int(alias)
    expected = {last.champion} - {None} if last.kind == "seen" else {last.before, last.champion}
    if where not in expected or _version(history.client, history.model, last.version) is None:
        return None
    move_alias(history, last)
    return last


def promote_by_hand(client: "MlflowClient", version: "ModelVersion", reason: str) -> Event:
    """Makes a version the champion because a person says so; the history keeps who was before, and why.

    The same call after a kill finishes what was left.

    Raises:
        RequestError: It is the champion already.
        WorkError: The history is damaged, or another version was decided on at the same time.
    """
    history, finished, seen = _up_to_date(client, version.name)
    number = int(version.version)
    if finished is not None and (finished.kind, finished.version) == ("promoted by hand", number):
        return finished
    if (history.champion if seen is None else seen.champion) == number:
        raise RequestError(f"version {number} of {version.name} is the {CHAMPION} already")
    return _changed(history, seen, "promoted by hand", number, f"promoted by hand: {reason}")


def roll_back(client: "MlflowClient", name: str, reason: str | None) -> Event:
    """Makes the champion before the current one the champion again; versions that were deleted since are passed over.

    A second rollback goes on to the one before that, not back to where the first one came from. The same call after a
    kill finishes the rollback that was killed, and goes no further.

    Raises:
        RequestError: There is no earlier champion.
        WorkError: The history is damaged, or another version was decided on at the same time.
    """
    history, finished, seen = _up_to_date(client, name)
    if finished is not None and finished.kind == "rolled back":
        return finished
    line = champions_before(history.events if seen is None else (*history.events, seen))
    there = _numbers(client, name)
    earlier = next((version for version in line if version in there), None)
    if earlier is None:
        deleted = f"; {listed(line)} {'was' if len(line) == 1 else 'were'}, and deleted since" if line else ""
        raise RequestError(f"no version of {name} that is still there was the {CHAMPION} before{deleted}")
    why = "rolled back" + (f": {reason}" if reason else "")
    return _changed(history, seen, "rolled back", earlier, why)


def champions_before(events: Sequence[Event]) -> list[int]:
    """Returns the champions before the current one, the latest first; a rollback takes those after it away."""
    line: list[int] = []
    for event in events:
        if event.champion is None:
            continue
        if event.kind == "rolled back" and event.champion in line:
            line = line[: len(line) - line[::-1].index(event.champion)]
        elif not line or line[-1] != event.champion:
            line.append(event.champion)
    current = events[-1].champion if events else None
    return [version for version in reversed(line) if version != current]


def listed(versions: Sequence[int]) -> str:
    """Returns `version 3` or `versions 3, 2, 1`."""
    return f"version{'' if len(versions) == 1 else 's'} {', '.join(map(str, versions))}"


def _up_to_date(client: "MlflowClient", name: str) -> tuple[History, Event | None, Event | None]:
    """Finishes what a kill interrupted, and returns the history.

    Returns:
        The history; the event that was finished, if there is one; and the event that says where the alias was found, if
        that is elsewhere. It is not written yet: a command that is refused writes nothing.
    """
    history = open_history(client, str(client.tracking_uri), name)
    finished = finish_interrupted(history)
    alias = champion_of(client, name)
    return history, finished, found_elsewhere(history, None if alias is None else int(alias.version))


def _version(client: "MlflowClient", name: str, number: int) -> "ModelVersion | None":
    """Returns a version of a registered model; None if it was deleted."""
    from mlflow import MlflowException

    try:
        return client.get_model_version(name, str(number))
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise


def _numbers(client: "MlflowClient", name: str) -> set[int]:
    """Returns the versions of a registered model that were not deleted."""
    return {int(found.version) for found in client.search_model_versions(f"name = {quoted(name)}")}


def _changed(history: History, seen: Event | None, kind: Kind, version: int, reason: str) -> Event:
    if seen is not None:
        history = record_seen(history, seen)
    history = history.with_event(by_person(history, kind, version, version, reason))
    move_alias(history, history.events[-1])
    return history.events[-1]
