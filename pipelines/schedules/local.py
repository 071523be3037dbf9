"""The target `local`: its runs, and its schedules, which `elboflow scheduler` runs from the workspace."""

import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from elboflow.artifacts import sha256
from elboflow.settings import RequestError, WorkError
from pipelines.schedules import capacity
from pipelines.schedules.heartbeat import places
from pipelines.schedules.launch import LOG, Processes, tick_folder
from pipelines.schedules.lookup import existing, has_schedules, known, owner
from pipelines.schedules.one_pass import end_dead
from pipelines.schedules.record_due import record_due
from pipelines.schedules.report import places_in_queue, schedule_state, tick_state, unreadable_state
from pipelines.schedules.states import ACTIVE, Key, Schedule, Tick, absent
from pipelines.schedules.store import Store
from pipelines.schedules.tick import date_of
from pipelines.schedules.triggers import require_no_circle
from pipelines.targets import Job, Naming, RunState, ScheduleState, taken
from pipelines.targets.data import require_no_secret
from pipelines.targets.local.client import LocalClient
from pipelines.timing import Timing
from pipelines.timing.calendar import INSTANT, check

log = logging.getLogger("elboflow.schedules")

_PATIENCE = 60.0
"""Seconds that the process of a run by hand has to begin."""


class LocalTarget(LocalClient):
    """The target `local`: the runs of a `LocalClient`, and the schedules of the same workspace."""

    def create_schedule(
        self, job: Job, timing: Timing, if_changed: bool, naming: Naming | None = None, *, paused: bool = False
    ) -> ScheduleState:
        """Creates a schedule. Ticks count from now on; with catch-up, from a start in the past.

        Raises:
            RequestError: The timing makes no sense, the job is a published version, its experiment holds a secret, or
                the name is another's.
        """
        experiment, now = _kept(job), datetime.now(UTC)
        check(timing, now)
        self.workspace.folder.mkdir(parents=True, exist_ok=True)
        settled = now
        if timing.start is not None and timing.catch_up != "none":
            settled = min(timing.start - INSTANT, now)
        with Store(self.workspace.folder) as store, store.transaction():
            if naming is not None and (other := owner(store, naming.name)) is not None:
                raise RequestError(taken(naming.name, other))
            if naming is None or naming.group is None:  # `apply` has looked at all schedules as they are to be
                require_no_circle(store, job.name, timing)
            schedule = Schedule(
                id=store.new_id(job.name if naming is None else naming.name),
                name=job.name,
                experiment=experiment,
                folder=str(Path.cwd()),
                timing=timing,
                if_changed=if_changed or bool(job.arguments.get("if_changed")),
                created=now,
                settled=settled,
                paused=settled if paused else None,  # what came since the start, too, is skipped
                label=None if naming is None else naming.name,
                group=None if naming is None else naming.group,
            )
            store.add(schedule, _digests(job.files))
            return schedule_state(store, self.workspace, schedule)

    def change_schedule(
        self, schedule: ScheduleState, job: Job, timing: Timing, if_changed: bool, naming: Naming, *, paused: bool
    ) -> ScheduleState:
        """Changes a schedule in place. What was due until now is recorded by its former times."""
        experiment, now = _kept(job), datetime.now(UTC)
        check(timing, now)
        with self._opened(schedule.id) as store:
            while not record_due(store, schedule.id, now):
                pass
            with store.transaction():
                before = existing(store, schedule.id)
                changed = replace(
                    before,
                    name=job.name,
                    experiment=experiment,
                    folder=str(Path.cwd()),
                    timing=timing,
                    if_changed=if_changed,
                    settled=now,
                    paused=(before.paused or now) if paused else None,
                    label=naming.name,
                    group=naming.group,
                )
                if paused:
                    _skip_waiting(store, schedule.id, now)
                store.add(changed, _digests(job.files))
            return schedule_state(store, self.workspace, changed)

    def scheduled_experiment(self, id: str) -> dict[str, Any]:
        """Returns the experiment that a schedule holds a copy of."""
        with self._opened(id) as store:
            return known(store, id).experiment

    def schedules(self) -> list[ScheduleState]:
        """Returns all schedules, the oldest first."""
        if not has_schedules(self.workspace):
            return []
        with Store(self.workspace.folder) as store:
            positions = places_in_queue(store)
            readable = [schedule_state(store, self.workspace, each, positions) for each in store.schedules()]
            return [*readable, *(unreadable_state(id, reason) for id, reason in store.unreadable().items())]

    def schedule(self, id: str) -> ScheduleState:
        """Returns a schedule, even a deleted one."""
        with self._opened(id) as store:
            return schedule_state(store, self.workspace, known(store, id))

    def pause(self, id: str) -> None:
        """Lets a schedule skip its ticks, the waiting ones included, until it is resumed. Each skip is recorded."""
        now = datetime.now(UTC)
        with self._opened(id) as store, store.transaction():
            schedule = existing(store, id)
            id = schedule.id
            if schedule.paused is None:
                store.change(id, paused=now)
            _skip_waiting(store, id, now)

    def resume(self, id: str) -> None:
        """Lets a paused schedule tick again."""
        with self._opened(id) as store:
            id = existing(store, id).id
            now = datetime.now(UTC)
            end_dead(store, Processes(self.workspace.folder), self.workspace.folder, now)
            while not record_due(store, id, now):  # the ticks of the pause, while it is known that there was one
                pass
            store.change(id, paused=None)

    def trigger(self, id: str, date: str | None = None) -> RunState:
        """Runs a schedule's experiment now, in addition to its ticks, with or without a scheduler.

        Raises:
            WorkError: Its folder does not exist, or its process does not begin.
        """
        now = datetime.now(UTC)
        processes = Processes(self.workspace.folder)
        with self._opened(id) as store:
            schedule = existing(store, id)
            key = Key(schedule.id, now if now.microsecond else now + INSTANT)  # ticks have none
            while store.tick(key) is not None:  # the clock was put back
                key = Key(schedule.id, key.time + INSTANT)
            if (reason := absent(schedule)) is not None:
                raise WorkError(f"{id}: {reason}; put it back, or delete the schedule, and make it anew")
            with store.transaction():
                store.record([Tick(key, "hand", "claimed")])
                if date is not None:
                    store.record_date(key, date)
            processes.start(key)
            deadline = time.monotonic() + _PATIENCE
            while (tick := store.tick(key)) is not None and tick.state == "claimed":
                if key in processes.reap() or time.monotonic() > deadline:
                    reason = f"its process did not begin; look into {tick_folder(self.workspace.folder, key) / LOG}"
                    store.turn(key, "claimed", "failed", ended=datetime.now(UTC), reason=reason)
                    raise WorkError(f"{key}: {reason}")
                time.sleep(0.05)
            return tick_state(self.workspace, schedule, tick or Tick(key, "hand", "running"), now, {})

    def dated_runs(self, id: str) -> dict[str, RunState]:
        """Returns the latest run of each date: those of ticks, and those by hand that were for a date."""
        now = datetime.now(UTC)
        with self._opened(id) as store:
            schedule = existing(store, id)
            end_dead(store, Processes(self.workspace.folder), self.workspace.folder, now)
            dates, found = store.dates(schedule.id), dict[str, RunState]()
            for tick in store.ran(schedule.id):
                if tick.origin != "hand" or tick.key in dates:
                    date = dates.get(tick.key) or date_of(schedule, tick.key)
                    state = tick_state(self.workspace, schedule, tick, now, {})
                    found[date] = replace(state, id=tick.run or "")
            return found

    def spare(self) -> int:
        """Returns how many more runs the machine can carry, besides those that schedules have at work."""
        with Store(self.workspace.folder) as store:
            at_work = sum(tick.state in ACTIVE for tick in store.open_ticks())
            return (places(store) or capacity.slots()) - at_work

    def delete(self, id: str) -> None:
        """Deletes a schedule. Its runs stay, and active ones go on; what was not yet launched is not."""
        now = datetime.now(UTC)
        with self._opened(id) as store, store.transaction():
            with suppress(WorkError):  # a damaged one can be deleted
                id = existing(store, id).id
            store.change(id, deleted=now)
            for tick in store.open_ticks(id):
                if tick.state != "running":
                    store.turn(tick.key, tick.state, "skipped", ended=now, reason="the schedule was deleted")

    def history(self, id: str, limit: int = 50) -> list[RunState]:
        """Returns the ticks of a schedule, even a deleted one, the newest first: values of `TickState`."""
        with self._opened(id) as store:
            schedule, now, positions = known(store, id), datetime.now(UTC), places_in_queue(store)
            records = store.history(schedule.id, limit, now)
            for what, why in store.damaged.items():
                log.warning("%s %s", what, why)
            dates = store.dates(schedule.id)
            states = [tick_state(self.workspace, schedule, record, now, positions) for record in records]
            by_hand = [dates.get(record.key) if isinstance(record, Tick) else None for record in records]
            return [replace(state, date=date) for state, date in zip(states, by_hand, strict=True)]

    def _opened(self, id: str) -> Store:
        if not has_schedules(self.workspace):
            raise RequestError(
                f"there is no schedule '{id}': {self.workspace.folder} holds none; `elboflow schedule create` makes one"
            )
        return Store(self.workspace.folder)


def _kept(job: Job) -> dict[str, Any]:
    """Returns the experiment of a job, or raises RequestError where a schedule cannot hold it."""
    if job.release is not None or "experiment" not in job.arguments:
        raise RequestError("local runs start from an experiment: published versions are run on kubeflow and vertex")
    experiment: dict[str, Any] = job.arguments["experiment"]
    require_no_secret(experiment, "the schedule would keep it, readable, in the workspace")
    return experiment


def _skip_waiting(store: Store, id: str, now: datetime) -> None:
    """Skips the waiting ticks of a schedule that is being paused."""
    for tick in store.open_ticks(id):
        if tick.state == "waiting":
            reason = "the schedule was paused while it waited"
            store.turn(tick.key, "waiting", "skipped", ended=now, reason=reason)


def _digests(files: Sequence[Path]) -> dict[str, str]:
    """Returns the SHA-256 of files; those in the working directory are named relative to it, as it may be moved."""
    here = Path.cwd()
    paths = [here / file for file in files]
    return {str(path.relative_to(here) if path.is_relative_to(here) else path): sha256(path) for path in paths}
