"""The scheduler: one process for a workspace, which launches what is due.

APScheduler wakes it at every tick. Its own job stores pickle, so its jobs live in memory: they are made from the tables
of `schedules.db`, anew whenever those change or the clock jumps. The next pass does what a pass has missed.
"""

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger

from elboflow.settings import RequestError, WorkError
from elboflow.settings.text import counted
from pipelines.schedules import capacity
from pipelines.schedules.calendar import Calendar
from pipelines.schedules.database import FILE, blank
from pipelines.schedules.heartbeat import EVERY, LOCK, announce, beat, holder, sign
from pipelines.schedules.launch import Launcher, Processes, hold
from pipelines.schedules.states import Key
from pipelines.schedules.store import Store
from pipelines.schedules.work import end_dead, work
from pipelines.targets import Timing

LOOK = 1.0
"""Seconds between two looks for changes that other processes made, for a clock that jumped, for runs that ended."""

JUMP = 2.0
"""Seconds by which the clock has to move beside the time that passed to have jumped."""

AGAIN = 3600.0
"""Seconds until a trouble that lasts is told again."""

log = logging.getLogger("elboflow.schedules")


class Daemon:
    """The scheduler of a workspace, which holds the workspace's lock while it is open.

    Args:
        workspace: The workspace's folder.
        launcher: What starts runs; by default processes of this machine.
        drain: Whether it waits for the runs that are at work when it is stopped, as it has to where they end with it.
        places: How many runs of all schedules may be at work at once; by default what the machine carries.

    Raises:
        RequestError: Another one is at work on the workspace.
    """

    def __init__(
        self, workspace: Path, launcher: Launcher | None = None, drain: bool = False, places: int | None = None
    ) -> None:
        self._workspace, self._drain = workspace, drain
        self._places = places or capacity.places()
        self._launcher = launcher or Processes(workspace)
        lock = hold(workspace / LOCK)
        if lock is None:
            raise RequestError(f"a scheduler is at work on {workspace} already: {holder(workspace)}")
        self._lock = lock
        try:
            sign(lock)
            if (reason := blank(workspace)) is not None:
                log.warning("%s is made anew: %s", workspace / FILE, reason)
            self._store = Store(workspace)
            announce(self._store, self._places)
        except BaseException:
            os.close(lock)
            raise
        self._stops = 0
        self._beaten = -float("inf")
        self._told: dict[str, float] = {}
        self._alarm = threading.Event()
        self._known: list[tuple[str, Timing]] = []
        self._stale = True
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
        """Ends `run` within a second, or, where it drains, when no run is at work; called again, within a second.

        It may be called by a signal's handler, which must not wait for a lock.
        """
        self._stops += 1

    def run(self) -> None:
        """Works until it is stopped. What it launched goes on."""
        self._alarms.start()
        log.info(
            "the scheduler is at work on %s, process %d; runs at once: %d", self._workspace, os.getpid(), self._places
        )
        ahead = _ahead()
        while not self._stops:
            if abs(jumped := _ahead() - ahead) > JUMP:
                log.warning("the clock jumped by %+.0f s", jumped)
                ahead, self._stale, self._beaten = _ahead(), True, -float("inf")
            with self._patience():
                self._reopen_if_replaced()
                # At every heartbeat, too: a run by hand that died has set no alarm.
                beats = self._pulse()
                if self._set_alarms() or self._alarm.is_set() or self._at_work or beats:
                    self._alarm.clear()
                    self._work()
            self._alarm.wait(LOOK)
        if self._drain:
            self._wait_for_runs()
        log.info(
            "the scheduler ends; %s",
            f"{counted(len(self._at_work), 'run')} still at work" if self._at_work else "no run is at work",
        )

    def _pulse(self) -> bool:
        """Writes down that it is at work, if it is time to, and returns whether it was."""
        if time.monotonic() - self._beaten < EVERY:
            return False
        beat(self._store, datetime.now(UTC))
        self._beaten = time.monotonic()
        return True

    @contextmanager
    def _patience(self) -> Iterator[None]:
        """Goes on after an error that may pass, such as a full disk."""
        try:
            yield
        except (WorkError, OSError, sqlite3.Error) as error:
            self._tell(str(error))
            self._stale = True
            self._alarm.clear()  # otherwise the next wait would return at once

    def _reopen_if_replaced(self) -> None:
        if self._store.is_replaced():
            self._tell(f"{self._store.path} was replaced: it is opened anew")
            self._store.close()
            self._store = Store(self._workspace)
            announce(self._store, self._places)
            self._stale = True

    def _tell(self, trouble: str) -> None:
        """Logs a trouble, unless it did lately."""
        now = time.monotonic()
        if now - self._told.get(trouble, -float("inf")) >= AGAIN:
            self._told = {text: told for text, told in self._told.items() if now - told < AGAIN} | {trouble: now}
            log.error("%s", trouble)

    def _set_alarms(self) -> bool:
        """Sets an alarm for each schedule's next tick, and returns whether there was anything new to set."""
        schedules = self._store.schedules()
        known = [(schedule.id, schedule.timing) for schedule in schedules]
        if known == self._known and not self._stale:
            return False
        self._alarms.remove_all_jobs()
        for schedule in schedules:
            with suppress(RequestError):  # a broken one, as `work` tells
                self._alarms.add_job(self._alarm.set, _Ticks(Calendar(schedule.timing)), id=schedule.id)
        if known != self._known:
            log.info("%s%s", counted(len(known), "schedule"), ": " + ", ".join(id for id, _ in known) if known else "")
        self._known, self._stale = known, False
        return True

    def _work(self) -> None:
        broken = work(self._store, self._launcher, self._workspace, datetime.now(UTC), self._places, self._pulse)
        for id, reason in broken.items():
            self._tell(f"{id} cannot tick: {reason}")
        for what, why in self._store.damaged.items():
            self._tell(f"{what} {why}; the others go on")
        self._tell_what_ended()

    def _tell_what_ended(self) -> None:
        before = self._at_work
        self._at_work = {tick.key for tick in self._store.open_ticks() if tick.state != "waiting"}
        for key in before - self._at_work:
            if (tick := self._store.tick(key)) is not None:
                log.info("%s: %s%s", tick.run or key, tick.state, f": {tick.reason}" if tick.reason else "")

    def _wait_for_runs(self) -> None:
        """Launches nothing more. What falls due from now on is for the next scheduler."""
        told = 0
        while self._stops == 1:
            with self._patience():
                end_dead(self._store, self._launcher, self._workspace, datetime.now(UTC))
                self._tell_what_ended()
                self._at_work = {key for key in self._at_work if self._launcher.at_work(key)}
                if not self._at_work:
                    return
                if told != len(self._at_work):
                    told = len(self._at_work)
                    log.info("launching nothing more; waiting for %s", counted(told, "run"))
                beat(self._store, datetime.now(UTC))
            time.sleep(LOOK)


class _Ticks(BaseTrigger):
    """The ticks of a calendar that are still to come."""

    def __init__(self, calendar: Calendar) -> None:
        self._calendar = calendar

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        return self._calendar.after(now)


def _ahead() -> float:
    """Returns by how much the clock is ahead of the time that has passed."""
    return time.time() - time.monotonic()
