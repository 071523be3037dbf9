"""Schedules and ticks of this machine as commands show them."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from elboflow.artifacts import sha256
from elboflow.settings import RequestError
from pipelines.schedules import polls
from pipelines.schedules.launch import LOG, tick_folder
from pipelines.schedules.one_pass import queued
from pipelines.schedules.states import Key, Range, Schedule, State, Tick, TickState
from pipelines.schedules.store import Store
from pipelines.targets import FileState, Outlook, ScheduleState, Status
from pipelines.timing import Timing
from pipelines.timing.calendar import Calendar, on_wall_clock
from pipelines.timing.trigger import parsed
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
    store: Store, workspace: Workspace, schedule: Schedule, places: dict[Key, int] | None = None
) -> ScheduleState:
    """Returns a schedule as it is now.

    Args:
        places: What `places_in_queue` returned, where it is known.
    """
    now = datetime.now(UTC)
    places = places_in_queue(store) if places is None else places
    latest = [record for record in store.history(schedule.id, 1, now) if record.last <= now]
    status, following, reason = _outlook(schedule, now)
    if reason is None and (error := polls.error(store, schedule.id)) is not None:
        reason = f"its data could not be read: {error}"
    return ScheduleState(
        id=schedule.id,
        experiment=schedule.name,
        target="local",
        timing=schedule.timing,
        status=status,
        if_changed=schedule.if_changed,
        next=following,
        last=tick_state(workspace, schedule, latest[0], now, places) if latest else None,
        reason=reason,
        files=tuple(_file_state(schedule, *file) for file in store.files(schedule.id).items()),
        tracking_uri=schedule.tracking_uri,
        name=schedule.label,
        group=schedule.group,
        folder=schedule.folder,
    )


def unreadable_state(id: str, reason: str) -> ScheduleState:
    """Returns a schedule whose row is damaged."""
    reason = f"{reason}; delete it, and make it anew"
    return ScheduleState(id=id, experiment="", target="local", timing=Timing(cron=""), status="broken", reason=reason)


def places_in_queue(store: Store) -> dict[Key, int]:
    """Returns the positions of the waiting ticks, from 1."""
    return {tick.key: place for place, tick in enumerate(queued(store.open_ticks(), store.schedules()), 1)}


def tick_state(
    workspace: Workspace, schedule: Schedule, record: Tick | Range, now: datetime, places: dict[Key, int]
) -> TickState:
    """Returns a tick, or a range of ticks."""
    known = TickState("", schedule.name, "local", _STATUS[record.state], reason=record.reason, record=record.state)
    if isinstance(record, Range):
        first, last, recorded = record.first, record.last, record.recorded
        return replace(known, created=first, ended=recorded, tick=last, first=first, ticks=record.ticks)
    log = tick_folder(workspace.folder, record.key) / LOG
    return replace(
        known,
        # A run that found nothing to do leaves no folder: its name would lead nowhere.
        id="" if record.run is None or record.state == "skipped" else record.run,
        created=record.started or record.key.time,
        ended=record.ended,
        tick=record.key.time,
        future=record.key.time > now,
        origin=record.origin,
        place=places.get(record.key),
        line=len(places) if record.key in places else None,
        exit_code=record.exit_code,
        log=str(log) if log.is_file() else None,
    )


def deleted(schedule: Schedule) -> str | None:
    """Returns when a schedule was deleted, in words; None where it was not."""
    if schedule.deleted is None:
        return None
    return f"deleted at {on_wall_clock(schedule.deleted, schedule.timing.timezone)}"


def _outlook(schedule: Schedule, now: datetime) -> tuple[Outlook, datetime | None, str | None]:
    """Returns a schedule's status, its next tick, and why there is none."""
    if schedule.deleted is not None:
        return "deleted", None, deleted(schedule)
    if parsed(schedule.timing.cron) is not None:
        return ("active" if schedule.paused is None else "paused"), None, None
    try:
        following = Calendar(schedule.timing).after(now)
    except RequestError as error:  # the tz database no longer has its timezone
        return "broken", None, str(error)
    if schedule.paused is not None:
        return "paused", None, None
    return ("active" if following else "ended"), following, None


def _file_state(schedule: Schedule, path: str, digest: str) -> FileState:
    file = Path(schedule.folder, path)
    try:
        found = sha256(file) if file.is_file() else None
    except (OSError, ValueError):
        found = None
    return FileState(path, "absent" if found is None else "unchanged" if found == digest else "changed")
