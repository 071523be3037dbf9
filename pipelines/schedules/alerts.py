"""What the scheduler tells of ticks besides the ends of runs: those that were missed, are late, or whose runs hang.

Each is recorded in the database before it is told, so that no scheduler tells it twice.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from components.config import Event, Notification, events
from components.surroundings.notify import Outcome, RunEnd
from elboflow.settings.text import counted
from pipelines.schedules.launch import tick_folder
from pipelines.schedules.record_due import GRACE
from pipelines.schedules.states import Key, Schedule
from pipelines.schedules.store import Store
from pipelines.timing.calendar import on_wall_clock

RECENT = timedelta(days=1)
"""Ticks that were recorded as missed before are no news."""


@dataclass(frozen=True)
class Alert:
    """Something to tell of the ticks of a schedule.

    Attributes:
        notification: Who is told; None where nobody asked for it, and the scheduler's log alone says it.
        folder: The working directory of a command.
    """

    end: RunEnd
    notification: Notification | None
    folder: Path


def new_alerts(store: Store, workspace: Path, now: datetime) -> list[Alert]:
    """Returns what is new to tell of the ticks of all schedules, and records it as told."""
    return [
        Alert(end, notification if end.status in asked else None, Path(schedule.folder))
        for schedule in store.schedules()
        for notification, asked in [_notification(schedule)]
        for end in (*_missed(store, schedule, now), *_late(store, schedule, workspace, now),
                    *_hanging(store, schedule, workspace, now))
    ]  # fmt: skip


def _missed(store: Store, schedule: Schedule, now: datetime) -> Iterator[RunEnd]:
    for missed in store.missed(schedule.id, now - RECENT):
        key = Key(schedule.id, missed.last)
        if store.alert(key, "missed"):
            last = on_wall_clock(missed.last, schedule.timing.timezone)
            reason = f"{counted(missed.ticks, 'tick')} up to that of {last} did not run: {missed.reason}"
            yield RunEnd(str(key), schedule.name, "missed", reason=reason, target="local")


def _late(store: Store, schedule: Schedule, workspace: Path, now: datetime) -> Iterator[RunEnd]:
    """Yields one message for all ticks that became late since the last: with catch-up, a thousand may wait."""
    if schedule.paused is not None:
        return
    late = [
        tick.key
        for tick in store.open_ticks(schedule.id)
        if tick.state != "running" and tick.origin != "hand" and now - tick.key.time > GRACE
    ]
    if not late:
        return
    with store.transaction():
        new = [key for key in late if store.alert(key, "late")]
    if new:
        oldest = on_wall_clock(new[0].time, schedule.timing.timezone)
        many = f"{len(new):,} ticks have not begun yet; the oldest is that of {oldest}"
        reason = many if len(new) > 1 else f"the tick of {oldest} has not begun yet"
        yield _of_tick(schedule, workspace, new[0], str(new[0]), "late", reason)


def _hanging(store: Store, schedule: Schedule, workspace: Path, now: datetime) -> Iterator[RunEnd]:
    if (deadline := _deadline(schedule)) is None:
        return
    for tick in store.open_ticks(schedule.id):
        if tick.state != "running" or tick.started is None or now - tick.started <= deadline:
            continue
        if store.alert(tick.key, "hanging"):
            minutes = deadline // timedelta(minutes=1)
            reason = f"the run takes longer than {counted(minutes, 'minute')} (schedule.deadline_minutes)"
            yield _of_tick(schedule, workspace, tick.key, tick.run or str(tick.key), "hanging", reason)


def _of_tick(schedule: Schedule, workspace: Path, key: Key, run: str, status: Outcome, reason: str) -> RunEnd:
    return RunEnd(run, schedule.name, status, reason=reason, link=str(tick_folder(workspace, key)), target="local")


def _notification(schedule: Schedule) -> tuple[Notification | None, frozenset[Event]]:
    """Returns who is told, and of what."""
    given = schedule.experiment.get("notify")
    try:
        found: Notification | None = None if given is None else TypeAdapter(Notification).validate_python(given)
    except ValidationError:  # of another version
        found = None
    return found, frozenset() if found is None else events(found)


def _deadline(schedule: Schedule) -> timedelta | None:
    section: Any = schedule.experiment.get("schedule")
    minutes = section.get("deadline_minutes") if isinstance(section, dict) else None
    return timedelta(minutes=minutes) if isinstance(minutes, int) else None
