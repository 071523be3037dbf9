"""What the target `local` does with schedules, in its workspace."""

import logging
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from elboflow.settings import RequestError, WorkError
from elboflow.settings.near import near
from pipelines.schedules.calendar import check
from pipelines.schedules.database import FILE, blank
from pipelines.schedules.folders import absent
from pipelines.schedules.heartbeat import places
from pipelines.schedules.launch import LOG, Processes, tick_folder
from pipelines.schedules.report import deleted_at, places_in_line, schedule_state, tick_state, unreadable_state
from pipelines.schedules.settle import settle
from pipelines.schedules.states import Key, Schedule, Tick
from pipelines.schedules.store import Store
from pipelines.schedules.work import end_dead
from pipelines.targets import Job, RunState, ScheduleState, Timing
from pipelines.workspace import Workspace

log = logging.getLogger("elboflow.schedules")

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
            id=store.new_id(job.name),
            name=job.name,
            experiment=job.arguments["experiment"],
            folder=str(Path.cwd()),
            timing=timing,
            if_changed=if_changed or bool(job.arguments.get("if_changed")),
            created=now,
            settled=settled,
        )
        store.add(schedule)
        return schedule_state(store, workspace, schedule)


def twin(workspace: Workspace, job: Job, timing: Timing, if_changed: bool) -> str | None:
    """Returns the id of a schedule that runs the same at the same times; None where there is none."""
    if not _are_there(workspace):
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
    if not _are_there(workspace):
        return []
    with Store(workspace.folder) as store:
        line = places_in_line(store)
        readable = [schedule_state(store, workspace, schedule, line) for schedule in store.schedules()]
        return [*readable, *(unreadable_state(id, reason) for id, reason in store.unreadable().items())]


def schedule(workspace: Workspace, id: str) -> ScheduleState:
    """Returns a schedule, even a deleted one.

    Raises:
        RequestError: There never was one of that id.
    """
    with _opened(workspace, id) as store:
        return schedule_state(store, workspace, _known(store, id))


def pause(workspace: Workspace, id: str) -> None:
    """Makes a schedule skip its ticks until it is resumed, those that wait among them; each is recorded as skipped."""
    now = datetime.now(UTC)
    with _opened(workspace, id) as store, store.transaction():
        if _found(store, id).paused is None:
            store.change(id, paused=now)
        for tick in store.open_ticks(id):
            if tick.state == "waiting":
                store.turn(tick.key, "waiting", "skipped", ended=now, reason="the schedule was paused while it waited")


def resume(workspace: Workspace, id: str) -> None:
    """Lets a paused schedule go on."""
    with _opened(workspace, id) as store:
        _found(store, id)
        now = datetime.now(UTC)
        end_dead(store, Processes(workspace.folder), workspace.folder, now)
        while not settle(store, id, now):  # the ticks of the pause get their record as long as it is known
            pass
        store.change(id, paused=None)


def trigger(workspace: Workspace, id: str) -> RunState:
    """Runs a schedule's experiment now, besides its ticks, whether a scheduler is at work or not.

    Raises:
        WorkError: The folder that it works in is not there, or its process does not begin.
    """
    now = datetime.now(UTC)
    key = Key(id, now if now.microsecond else now + timedelta(microseconds=1))  # ticks have none
    processes = Processes(workspace.folder)
    with _opened(workspace, id) as store:
        found = _found(store, id)
        if (reason := absent(found)) is not None:
            raise WorkError(f"{id}: {reason}; put it back, or delete the schedule, and make it anew")
        store.record([Tick(key, "hand", "claimed")])
        processes.start(key)
        deadline = time.monotonic() + _PATIENCE
        while (tick := store.tick(key)) is not None and tick.state == "claimed":
            if key in processes.reap() or time.monotonic() > deadline:
                reason = f"its process did not begin; look into {tick_folder(workspace.folder, key) / LOG}"
                store.turn(key, "claimed", "failed", ended=datetime.now(UTC), reason=reason)
                raise WorkError(f"{key}: {reason}")
            time.sleep(0.05)
        return tick_state(workspace, found, tick or Tick(key, "hand", "running"), now, {})


def delete(workspace: Workspace, id: str) -> None:
    """Removes a schedule. Its runs stay, and those at work go on; what only was to be launched is not."""
    now = datetime.now(UTC)
    with _opened(workspace, id) as store, store.transaction():
        with suppress(WorkError):  # a damaged one can be deleted
            _found(store, id)
        store.change(id, deleted=now)
        for tick in store.open_ticks(id):
            if tick.state != "running":
                store.turn(tick.key, tick.state, "skipped", ended=now, reason="the schedule was deleted")


def history(workspace: Workspace, id: str, limit: int = 50) -> list[RunState]:
    """Returns what became of the ticks of a schedule, even a deleted one, the newest first: values of `TickState`."""
    with _opened(workspace, id) as store:
        found = _known(store, id)
        now = datetime.now(UTC)
        line = places_in_line(store)
        records: list[RunState] = [
            tick_state(workspace, found, record, now, line) for record in store.history(id, limit, now)
        ]
        for what, why in store.damaged.items():
            log.warning("%s %s", what, why)
        return records


def waiting(workspace: Workspace) -> tuple[int, int | None]:
    """Returns how many ticks stand in line, and for how many places."""
    if not _are_there(workspace):
        return 0, None
    with Store(workspace.folder) as store:
        return len(places_in_line(store)), places(store)


def _are_there(workspace: Workspace) -> bool:
    """Returns whether there are schedules to read. An empty file is told of, and left for `doctor` to find."""
    file = workspace.folder / FILE
    if not file.is_file():
        return False
    if (reason := blank(workspace.folder)) is not None:
        log.warning("%s has no schedules: %s", file, reason)
        return False
    return True


def _opened(workspace: Workspace, id: str) -> Store:
    if not _are_there(workspace):
        raise RequestError(
            f"there is no schedule '{id}': {workspace.folder} holds none; `elboflow schedule create` makes one"
        )
    return Store(workspace.folder)


def _found(store: Store, id: str) -> Schedule:
    found = _known(store, id)
    if found.deleted is not None:
        raise RequestError(f"the schedule '{id}' was {deleted_at(found.deleted)}")
    return found


def _known(store: Store, id: str) -> Schedule:
    found = store.schedule(id)
    if found is not None:
        return found
    ids = [schedule.id for schedule in store.schedules()]
    meant = near(id, ids)
    hint = f"did you mean '{meant}'? " if meant else ""
    raise RequestError(f"there is no schedule '{id}'; {hint}`elboflow schedule list` lists those there are")
