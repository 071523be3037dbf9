"""What the target `local` does with schedules, in its workspace."""

import time
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

from pipelines.schedules.calendar import Calendar, check
from pipelines.schedules.database import FILE
from pipelines.schedules.launch import LOG, Processes, tick_folder
from pipelines.schedules.settle import settle
from pipelines.schedules.states import Key, Schedule, State, Tick, TickState
from pipelines.schedules.store import Store
from pipelines.schedules.work import end_dead
from pipelines.targets import Job, RunState, ScheduleState, Status, Timing
from pipelines.workspace import Workspace
from settings import RequestError, WorkError

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
_PATIENCE = 60.0
"""Seconds that the process of a run by hand has to begin."""


def create(workspace: Workspace, job: Job, timing: Timing, if_changed: bool) -> ScheduleState:
    """Makes a schedule. Ticks count from now on, or, where missed ones are made up for, from a start that has passed.

    Raises:
        RequestError: The timing makes no sense, or the job is a published version.
    """
    if job.release is not None or "experiment" not in job.arguments:
        raise RequestError("local runs start from an experiment: published versions are run on kubeflow and vertex")
    now = datetime.now(UTC)
    check(timing, now)
    workspace.folder.mkdir(parents=True, exist_ok=True)
    settled = now
    if timing.start is not None and timing.catch_up != "none":
        settled = min(timing.start - timedelta(microseconds=1), now)
    with Store(workspace.folder) as store, store.transaction():
        schedule = Schedule(
            id=f"{job.name}-{store.numbered(job.name) + 1}",
            name=job.name,
            experiment=job.arguments["experiment"],
            folder=str(Path.cwd()),
            timing=timing,
            if_changed=if_changed or bool(job.arguments.get("if_changed")),
            created=now,
            settled=settled,
        )
        store.add(schedule)
        return _state(store, workspace, schedule)


def twin(workspace: Workspace, job: Job, timing: Timing, if_changed: bool) -> str | None:
    """Returns the id of a schedule that runs the same at the same times; None where there is none."""
    if not (workspace.folder / FILE).is_file():
        return None
    experiment = job.arguments.get("experiment")
    same = (experiment, str(Path.cwd()), timing, if_changed or bool(job.arguments.get("if_changed")))
    with Store(workspace.folder) as store:
        for other in store.schedules():
            if (other.experiment, other.folder, other.timing, other.if_changed) == same:
                return other.id
    return None


def schedules(workspace: Workspace) -> list[ScheduleState]:
    """Returns all schedules, the oldest first."""
    if not (workspace.folder / FILE).is_file():
        return []
    with Store(workspace.folder) as store:
        return [_state(store, workspace, schedule) for schedule in store.schedules()]


def schedule(workspace: Workspace, id: str) -> ScheduleState:
    """Returns a schedule, even a deleted one.

    Raises:
        RequestError: There never was one of that id.
    """
    with _opened(workspace, id) as store:
        return _state(store, workspace, _known(store, id))


def pause(workspace: Workspace, id: str) -> None:
    """Makes a schedule skip its ticks until it is resumed; each is recorded as skipped."""
    with _opened(workspace, id) as store, store.transaction():
        if _found(store, id).paused is None:
            store.change(id, paused=datetime.now(UTC))


def resume(workspace: Workspace, id: str) -> None:
    """Lets a paused schedule go on."""
    with _opened(workspace, id) as store:
        _found(store, id)
        end_dead(store, Processes(workspace.folder), workspace.folder, datetime.now(UTC))
        settle(store, id, datetime.now(UTC))  # the ticks of the pause get their record as long as it is known
        store.change(id, paused=None)


def trigger(workspace: Workspace, id: str) -> RunState:
    """Runs a schedule's experiment now, besides its ticks, whether a scheduler is at work or not.

    Raises:
        WorkError: Its process does not begin.
    """
    now = datetime.now(UTC)
    key = Key(id, now if now.microsecond else now + timedelta(microseconds=1))  # ticks have none
    processes = Processes(workspace.folder)
    with _opened(workspace, id) as store:
        found = _found(store, id)
        store.record([Tick(key, "hand", "claimed")])
        processes.start(key)
        deadline = time.monotonic() + _PATIENCE
        while (tick := store.tick(key)) is not None and tick.state == "claimed":
            if key in processes.reap() or time.monotonic() > deadline:
                reason = f"its process did not begin; look into {tick_folder(workspace.folder, key) / LOG}"
                store.turn(key, "claimed", "failed", ended=datetime.now(UTC), reason=reason)
                raise WorkError(f"{key}: {reason}")
            time.sleep(0.05)
        return _run(workspace, found, tick or Tick(key, "hand", "running"))


def delete(workspace: Workspace, id: str) -> None:
    """Removes a schedule. Its runs stay, and those at work go on; what only was to be launched is not."""
    now = datetime.now(UTC)
    with _opened(workspace, id) as store, store.transaction():
        _found(store, id)
        store.change(id, deleted=now)
        for tick in store.open_ticks(id):
            if tick.state != "running":
                store.turn(tick.key, tick.state, "skipped", ended=now, reason="the schedule was deleted")


def history(workspace: Workspace, id: str, limit: int = 50) -> list[RunState]:
    """Returns what became of the ticks of a schedule, even a deleted one, the newest first: values of `TickState`."""
    with _opened(workspace, id) as store:
        found = _known(store, id)
        return [_run(workspace, found, tick) for tick in store.history(id, limit)]


def _opened(workspace: Workspace, id: str) -> Store:
    if not (workspace.folder / FILE).is_file():
        raise RequestError(
            f"there is no schedule '{id}': {workspace.folder} holds none; `elboflow schedule create` makes one"
        )
    return Store(workspace.folder)


def _found(store: Store, id: str) -> Schedule:
    found = _known(store, id)
    if found.deleted is not None:
        raise RequestError(f"the schedule '{id}' was {_deleted(found.deleted)}")
    return found


def _known(store: Store, id: str) -> Schedule:
    found = store.schedule(id)
    if found is not None:
        return found
    ids = [schedule.id for schedule in store.schedules()]
    near = get_close_matches(id, ids, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'? " if near else ""
    raise RequestError(f"there is no schedule '{id}'; {hint}`elboflow schedule list` lists those there are")


def _deleted(moment: datetime) -> str:
    return f"deleted at {moment:%Y-%m-%d %H:%M} UTC"


def _state(store: Store, workspace: Workspace, schedule: Schedule) -> ScheduleState:
    latest = store.history(schedule.id, 1)
    status, following, reason = _outlook(schedule)
    return ScheduleState(
        id=schedule.id,
        experiment=schedule.name,
        target="local",
        timing=schedule.timing,
        status=status,
        if_changed=schedule.if_changed,
        next=following,
        last=_run(workspace, schedule, latest[0]) if latest else None,
        reason=reason,
    )


_Outlook = Literal["active", "paused", "ended", "broken", "deleted"]


def _outlook(schedule: Schedule) -> tuple[_Outlook, datetime | None, str | None]:
    """Returns a schedule's status, its next tick, and why there is none."""
    if schedule.deleted is not None:
        return "deleted", None, _deleted(schedule.deleted)
    try:
        following = Calendar(schedule.timing).after(max(schedule.settled, datetime.now(UTC)))
    except RequestError as error:  # its timezone was taken out of the tz database since
        return "broken", None, str(error)
    if schedule.paused is not None:
        return "paused", None, None
    return ("active" if following else "ended"), following, None


def _run(workspace: Workspace, schedule: Schedule, tick: Tick) -> TickState:
    log = tick_folder(workspace.folder, tick.key) / LOG
    return TickState(
        id=tick.run or str(tick.key),
        experiment=schedule.name,
        target="local",
        status=_STATUS[tick.state],
        created=tick.started or tick.key.time,
        ended=tick.ended,
        reason=tick.reason,
        tick=tick.key.time,
        origin=tick.origin,
        record=tick.state,
        exit_code=tick.exit_code,
        log=str(log) if log.is_file() else None,
    )
