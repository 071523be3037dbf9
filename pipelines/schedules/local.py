"""The target `local`: its runs, and its schedules, which `elboflow scheduler` runs from the workspace."""

import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from elboflow.artifacts import sha256
from elboflow.settings import RequestError, WorkError
from elboflow.settings.near import near
from pipelines.schedules.daemon import places
from pipelines.schedules.database import FILE, blank
from pipelines.schedules.launch import LOG, Processes, tick_folder
from pipelines.schedules.one_pass import end_dead
from pipelines.schedules.record_due import record_due
from pipelines.schedules.report import deleted, places_in_queue, schedule_state, tick_state, unreadable_state
from pipelines.schedules.states import Key, Schedule, Tick, absent
from pipelines.schedules.store import Store
from pipelines.targets import Job, RunState, ScheduleState
from pipelines.targets.data import require_no_secret
from pipelines.targets.local.client import LocalClient
from pipelines.timing import Timing
from pipelines.timing.calendar import INSTANT, check
from pipelines.workspace import Workspace

log = logging.getLogger("elboflow.schedules")

_PATIENCE = 60.0
"""Seconds that the process of a run by hand has to begin."""


class LocalTarget(LocalClient):
    """The target `local`: the runs of a `LocalClient`, and the schedules of the same workspace."""

    def create_schedule(self, job: Job, timing: Timing, if_changed: bool) -> ScheduleState:
        """Creates a schedule. Ticks count from now on; with catch-up, from a start in the past.

        Raises:
            RequestError: The timing makes no sense, the job is a published version, or its experiment holds a secret.
        """
        if job.release is not None or "experiment" not in job.arguments:
            raise RequestError("local runs start from an experiment: published versions are run on kubeflow and vertex")
        require_no_secret(job.arguments["experiment"], "the schedule would keep it, readable, in the workspace")
        now = datetime.now(UTC)
        check(timing, now)
        self.workspace.folder.mkdir(parents=True, exist_ok=True)
        settled = now
        if timing.start is not None and timing.catch_up != "none":
            settled = min(timing.start - INSTANT, now)
        with Store(self.workspace.folder) as store, store.transaction():
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
            store.add(schedule, _digests(job.files))
            return schedule_state(store, self.workspace, schedule)

    def schedules(self) -> list[ScheduleState]:
        """Returns all schedules, the oldest first."""
        if not _has_schedules(self.workspace):
            return []
        with Store(self.workspace.folder) as store:
            positions = places_in_queue(store)
            readable = [schedule_state(store, self.workspace, each, positions) for each in store.schedules()]
            return [*readable, *(unreadable_state(id, reason) for id, reason in store.unreadable().items())]

    def schedule(self, id: str) -> ScheduleState:
        """Returns a schedule, even a deleted one."""
        with self._opened(id) as store:
            return schedule_state(store, self.workspace, _known(store, id))

    def pause(self, id: str) -> None:
        """Lets a schedule skip its ticks, the waiting ones included, until it is resumed. Each skip is recorded."""
        now = datetime.now(UTC)
        with self._opened(id) as store, store.transaction():
            if _existing(store, id).paused is None:
                store.change(id, paused=now)
            for tick in store.open_ticks(id):
                if tick.state == "waiting":
                    reason = "the schedule was paused while it waited"
                    store.turn(tick.key, "waiting", "skipped", ended=now, reason=reason)

    def resume(self, id: str) -> None:
        """Lets a paused schedule tick again."""
        with self._opened(id) as store:
            _existing(store, id)
            now = datetime.now(UTC)
            end_dead(store, Processes(self.workspace.folder), self.workspace.folder, now)
            while not record_due(store, id, now):  # the ticks of the pause, while it is known that there was one
                pass
            store.change(id, paused=None)

    def trigger(self, id: str) -> RunState:
        """Runs a schedule's experiment now, in addition to its ticks, with or without a scheduler.

        Raises:
            WorkError: Its folder does not exist, or its process does not begin.
        """
        now = datetime.now(UTC)
        key = Key(id, now if now.microsecond else now + timedelta(microseconds=1))  # ticks have none
        processes = Processes(self.workspace.folder)
        with self._opened(id) as store:
            schedule = _existing(store, id)
            if (reason := absent(schedule)) is not None:
                raise WorkError(f"{id}: {reason}; put it back, or delete the schedule, and make it anew")
            store.record([Tick(key, "hand", "claimed")])
            processes.start(key)
            deadline = time.monotonic() + _PATIENCE
            while (tick := store.tick(key)) is not None and tick.state == "claimed":
                if key in processes.reap() or time.monotonic() > deadline:
                    reason = f"its process did not begin; look into {tick_folder(self.workspace.folder, key) / LOG}"
                    store.turn(key, "claimed", "failed", ended=datetime.now(UTC), reason=reason)
                    raise WorkError(f"{key}: {reason}")
                time.sleep(0.05)
            return tick_state(self.workspace, schedule, tick or Tick(key, "hand", "running"), now, {})

    def delete(self, id: str) -> None:
        """Deletes a schedule. Its runs stay, and active ones go on; what was not yet launched is not."""
        now = datetime.now(UTC)
        with self._opened(id) as store, store.transaction():
            with suppress(WorkError):  # a damaged one can be deleted
                _existing(store, id)
            store.change(id, deleted=now)
            for tick in store.open_ticks(id):
                if tick.state != "running":
                    store.turn(tick.key, tick.state, "skipped", ended=now, reason="the schedule was deleted")

    def history(self, id: str, limit: int = 50) -> list[RunState]:
        """Returns the ticks of a schedule, even a deleted one, the newest first: values of `TickState`."""
        with self._opened(id) as store:
            schedule, now, positions = _known(store, id), datetime.now(UTC), places_in_queue(store)
            records = store.history(id, limit, now)
            for what, why in store.damaged.items():
                log.warning("%s %s", what, why)
            return [tick_state(self.workspace, schedule, record, now, positions) for record in records]

    def _opened(self, id: str) -> Store:
        if not _has_schedules(self.workspace):
            raise RequestError(
                f"there is no schedule '{id}': {self.workspace.folder} holds none; `elboflow schedule create` makes one"
            )
        return Store(self.workspace.folder)


def twin(workspace: Workspace, job: Job, timing: Timing, if_changed: bool) -> str | None:
    """Returns the id of a schedule that runs the same at the same times; None where there is none."""
    if not _has_schedules(workspace):
        return None
    experiment = job.arguments.get("experiment")
    same = (experiment, str(Path.cwd()), timing, if_changed or bool(job.arguments.get("if_changed")))
    with Store(workspace.folder) as store:
        for other in store.schedules():
            if (other.experiment, other.folder, other.timing, other.if_changed) == same:
                return other.id
    return None


def waiting(workspace: Workspace) -> tuple[int, int | None]:
    """Returns the length of the queue, and how many runs may be active at once."""
    if not _has_schedules(workspace):
        return 0, None
    with Store(workspace.folder) as store:
        return len(places_in_queue(store)), places(store)


def _has_schedules(workspace: Workspace) -> bool:
    """Returns whether there is a database to read. An empty file is reported, and left for `doctor` to find."""
    file = workspace.folder / FILE
    if not file.is_file():
        return False
    if (reason := blank(workspace.folder)) is not None:
        log.warning("%s has no schedules: %s", file, reason)
        return False
    return True


def _digests(files: Sequence[Path]) -> dict[str, str]:
    """Returns the SHA-256 of files; those in the working directory are named relative to it, as it may be moved."""
    here = Path.cwd()
    paths = [here / file for file in files]
    return {str(path.relative_to(here) if path.is_relative_to(here) else path): sha256(path) for path in paths}


def _existing(store: Store, id: str) -> Schedule:
    schedule = _known(store, id)
    if schedule.deleted is not None:
        raise RequestError(f"the schedule '{id}' was {deleted(schedule)}")
    return schedule


def _known(store: Store, id: str) -> Schedule:
    if (schedule := store.schedule(id)) is not None:
        return schedule
    meant = near(id, store.ids())
    hint = f"did you mean '{meant}'? " if meant else ""
    raise RequestError(f"there is no schedule '{id}'; {hint}`elboflow schedule list` lists those there are")
