"""Schedules and ticks of this machine as commands show them."""

from datetime import UTC, datetime
from typing import Literal

from elboflow.settings import RequestError
from pipelines.schedules.calendar import Calendar
from pipelines.schedules.launch import LOG, tick_folder
from pipelines.schedules.line import in_line
from pipelines.schedules.states import Key, Range, Schedule, State, Tick, TickState
from pipelines.schedules.store import Store
from pipelines.targets import ScheduleState, Status, Timing
from pipelines.workspace import Workspace

_STATUS: dict[State, Status] = {
    "waiting": "pending",
    "claimed": "pending",
    "running": "running",
    "succeeded": "succeeded",
    "failed": "failed",
    "cancelled": "cancelled",
    "skipped": "skipped",
    "missed": "skipped",
}


def schedule_state(
    store: Store, workspace: Workspace, schedule: Schedule, line: dict[Key, int] | None = None
) -> ScheduleState:
    """Returns a schedule as it is now.

    Args:
        store: The schedules.
        workspace: Their workspace.
        schedule: The schedule.
        line: What `places_in_line` returned, where it is known.
    """
    now = datetime.now(UTC)
    line = places_in_line(store) if line is None else line
    latest = [record for record in store.history(schedule.id, 1, now) if _time(record) <= now]
    status, following, reason = _outlook(schedule, now)
    return ScheduleState(
        id=schedule.id,
        experiment=schedule.name,
        target="local",
        timing=schedule.timing,
        status=status,
        if_changed=schedule.if_changed,
        next=following,
        last=tick_state(workspace, schedule, latest[0], now, line) if latest else None,
        reason=reason,
    )


def unreadable_state(id: str, reason: str) -> ScheduleState:
    """Returns what is known of a schedule whose row is damaged."""
    reason = f"{reason}; delete it, and make it anew"
    return ScheduleState(id=id, experiment="", target="local", timing=Timing(cron=""), status="broken", reason=reason)


def places_in_line(store: Store) -> dict[Key, int]:
    """Returns the places of the ticks that wait, from 1."""
    return {tick.key: place for place, tick in enumerate(in_line(store.open_ticks(), store.schedules()), 1)}


def _time(record: Tick | Range) -> datetime:
    return record.last if isinstance(record, Range) else record.key.time


_Outlook = Literal["active", "paused", "ended", "broken", "deleted"]


def _outlook(schedule: Schedule, now: datetime) -> tuple[_Outlook, datetime | None, str | None]:
    """Returns a schedule's status, its next tick, and why there is none."""
    if schedule.deleted is not None:
        return "deleted", None, deleted_at(schedule.deleted)
    try:
        following = Calendar(schedule.timing).after(now)
    except RequestError as error:  # its timezone was taken out of the tz database since
        return "broken", None, str(error)
    if schedule.paused is not None:
        return "paused", None, None
    return ("active" if following else "ended"), following, None


def tick_state(
    workspace: Workspace, schedule: Schedule, record: Tick | Range, now: datetime, line: dict[Key, int]
) -> TickState:
    """Returns what became of a tick, or of a range of them.

    Args:
        workspace: Its workspace.
        schedule: Its schedule.
        record: Its record.
        now: The time.
        line: The places of the ticks that wait, from 1.
    """
    if isinstance(record, Range):
        return TickState(
            id=str(Key(schedule.id, record.last)),
            experiment=schedule.name,
            target="local",
            status="skipped",
            created=record.first,
            ended=record.recorded,
            reason=record.reason,
            tick=record.last,
            first=record.first,
            ticks=record.ticks,
            record=record.state,
        )
    log = tick_folder(workspace.folder, record.key) / LOG
    return TickState(
        id=record.run or str(record.key),
        experiment=schedule.name,
        target="local",
        status=_STATUS[record.state],
        created=record.started or record.key.time,
        ended=record.ended,
        reason=record.reason,
        tick=record.key.time,
        future=record.key.time > now,
        origin=record.origin,
        record=record.state,
        place=line.get(record.key),
        line=len(line) if record.key in line else None,
        exit_code=record.exit_code,
        log=str(log) if log.is_file() else None,
    )


def deleted_at(moment: datetime) -> str:
    return f"deleted at {moment:%Y-%m-%d %H:%M} UTC"
