"""The scheduler: one process for a workspace, which launches what is due.

APScheduler wakes it at every tick. Its own job stores pickle, so its jobs live in memory: they are made from the tables
of `schedules.db`, anew whenever those change or the clock jumps. Whatever it misses, the next pass makes good.
"""

import logging
import os
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger

from pipelines.schedules.calendar import Calendar
from pipelines.schedules.heartbeat import EVERY, LOCK, beat, holder, sign
from pipelines.schedules.launch import Launcher, Processes, hold
from pipelines.schedules.states import Key
from pipelines.schedules.store import Store
from pipelines.schedules.work import work
from pipelines.targets import Timing
from settings import RequestError, WorkError

LOOK = 1.0
"""Seconds between two looks for changes that other processes made, for a clock that jumped, for runs that ended."""

JUMP = 2.0
"""Seconds by which the clock has to move beside the time that passed to have jumped."""

log = logging.getLogger("elboflow.schedules")


class Daemon:
    """The scheduler of a workspace, which holds the workspace's lock while it is open.

    Args:
        workspace: The workspace's folder.
        launcher: What starts runs; by default processes of this machine.

    Raises:
        RequestError: Another one is at work on the workspace.
    """

    def __init__(self, workspace: Path, launcher: Launcher | None = None) -> None:
        self._workspace = workspace
        self._launcher = launcher or Processes(workspace)
        lock = hold(workspace / LOCK)
        if lock is None:
            raise RequestError(f"a scheduler is at work on {workspace} already: {holder(workspace)}")
        self._lock = lock
        try:
            sign(lock)
            self._store = Store(workspace)
        except BaseException:
            os.close(lock)
            raise
        self._stopping = False
        self._alarm = threading.Event()
        self._known: list[tuple[str, Timing]] = []
        self._at_work: set[Key] = set()
        # One late alarm does for all that were missed.
        self._alarms = BackgroundScheduler(
            timezone=UTC,
            executors={"default": ThreadPoolExecutor(1)},
            job_defaults={"coalesce": True, "misfire_grace_time": None},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        if self._alarms.running:
            self._alarms.shutdown()
        self._store.close()
        os.close(self._lock)

    def stop(self) -> None:
        """Ends `run` within a second. It may be called by a signal's handler, which must not wait for a lock."""
        self._stopping = True

    def run(self) -> None:
        """Works until it is stopped. What it launched goes on."""
        self._alarms.start()
        log.info("the scheduler is at work on %s, process %d", self._workspace, os.getpid())
        ahead, beaten = _ahead(), -float("inf")
        while not self._stopping:
            if abs(jumped := _ahead() - ahead) > JUMP:
                log.warning("the clock jumped by %+.0f s", jumped)
                ahead, self._known = _ahead(), []
            try:
                if time.monotonic() - beaten >= EVERY:
                    beat(self._store, datetime.now(UTC))
                    beaten = time.monotonic()
                if self._set_alarms() or self._alarm.is_set() or self._at_work:
                    self._alarm.clear()
                    self._work()
            except WorkError as error:  # such as a full disk: it may pass
                log.error("%s", error)
                self._known = []
            self._alarm.wait(LOOK)
        log.info("the scheduler ends; %s", f"{len(self._at_work)} runs go on" if self._at_work else "no run is at work")

    def _set_alarms(self) -> bool:
        """Sets an alarm for each schedule's next tick, and returns whether there was anything new to set."""
        schedules = self._store.schedules()
        known = [(schedule.id, schedule.timing) for schedule in schedules]
        if known == self._known and self._known:
            return False
        self._alarms.remove_all_jobs()
        for schedule in schedules:
            self._alarms.add_job(self._alarm.set, _Ticks(Calendar(schedule.timing)), id=schedule.id)
        if known != self._known:
            log.info("%d schedules%s", len(known), ": " + ", ".join(id for id, _ in known) if known else "")
        self._known = known
        return True

    def _work(self) -> None:
        before = self._at_work
        work(self._store, self._launcher, self._workspace, datetime.now(UTC))
        self._at_work = {tick.key for tick in self._store.open_ticks()}
        for key in before - self._at_work:
            if (tick := self._store.tick(key)) is not None:
                log.info("%s: %s%s", tick.run or key, tick.state, f": {tick.reason}" if tick.reason else "")


class _Ticks(BaseTrigger):
    """The ticks of a calendar that are still to come."""

    def __init__(self, calendar: Calendar) -> None:
        self._calendar = calendar

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        return self._calendar.after(now)


def _ahead() -> float:
    """Returns by how much the clock is ahead of the time that has passed."""
    return time.time() - time.monotonic()
