"""The scheduler: one process for a workspace, which does a pass over its schedules every second.

Its state is in `schedules.db` alone: the next pass does what one has missed, whether it was killed, the disk was full
or the clock jumped. It holds a lock, and writes a heartbeat every few seconds, by which others know that it runs.
"""

import logging
import os
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from components.surroundings.notify import notify
from elboflow.artifacts import child
from elboflow.artifacts.lock import hold
from elboflow.settings import RequestError, WorkError
from elboflow.settings.text import counted
from pipelines.schedules import capacity
from pipelines.schedules.alerts import new_alerts
from pipelines.schedules.database import FILE, blank
from pipelines.schedules.heartbeat import EVERY, LOCK, announce, beat, holder, sign
from pipelines.schedules.launch import Launcher, Processes
from pipelines.schedules.one_pass import end_dead, one_pass
from pipelines.schedules.states import Key
from pipelines.schedules.store import Store
from pipelines.workspace import SETTINGS

JUMP = 2.0
"""Seconds between the wall clock and the monotonic clock that count as a jump."""

AGAIN = 3600.0
"""Seconds until a problem that lasts is logged again."""

log = logging.getLogger("elboflow.schedules")


class Daemon:
    """The scheduler of a workspace, which holds the workspace's lock while it is open.

    Args:
        drain: Whether it waits for active runs when it is stopped, as it has to where they end with it.
        slots: How many runs of all schedules may be active at once; by default what the machine can carry.

    Raises:
        RequestError: Another scheduler runs on the workspace.
    """

    def __init__(
        self, workspace: Path, launcher: Launcher | None = None, drain: bool = False, slots: int | None = None
    ) -> None:
        self._workspace, self._drain = workspace, drain
        self._slots = slots or capacity.slots()
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
            announce(self._store, self._slots)
        except BaseException:
            os.close(lock)
            raise
        self._stops = 0
        self._beaten = -float("inf")
        self._ahead = _ahead()
        self._told: dict[str, float] = {}
        self._known: list[str] = []
        self._active: set[Key] = set()
        self._cleaning: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._store.close()
        os.close(self._lock)

    def stop(self) -> None:
        """Ends `run` within a second, or, where it drains, when no run is active; called again, within a second.

        A signal handler may call it, which must not wait for a lock.
        """
        self._stops += 1

    def run(self) -> None:
        """Works until it is stopped. What it launched goes on."""
        log.info(
            "the scheduler is at work on %s, process %d; runs at once: %d", self._workspace, os.getpid(), self._slots
        )
        while not self._stops:
            self.look()
            time.sleep(1 - time.time() % 1)  # ticks come at whole minutes: on time, if passes begin at whole seconds
        if self._drain:
            self._wait_for_runs()
        log.info(
            "the scheduler ends; %s",
            f"{counted(len(self._active), 'run')} still at work" if self._active else "no run is at work",
        )

    def look(self) -> None:
        """Does one pass. An error that may pass, such as a full disk, is logged, and the next pass tries again."""
        if abs(jumped := _ahead() - self._ahead) > JUMP:
            log.warning("the clock jumped by %+.0f s", jumped)
            self._ahead, self._beaten = _ahead(), -float("inf")
        with self._patience():
            self._reopen_if_replaced()
            self._beat()
            if (known := self._store.ids()) != self._known:
                self._known = known
                log.info("%s%s", counted(len(known), "schedule"), f": {', '.join(known)}" if known else "")
            now = datetime.now(UTC)
            broken = one_pass(self._store, self._launcher, self._workspace, now, self._slots, self._beat)
            for id, reason in broken.items():
                self._tell(f"{id} cannot tick: {reason}")
            for what, why in self._store.damaged.items():
                self._tell(f"{what} {why}; the others go on")
            self._tell_what_ended()
            for alert in new_alerts(self._store, self._workspace, now):
                log.warning("%s: %s: %s", alert.end.run, alert.end.status, alert.end.reason)
                if alert.notification is not None:  # a thread, because a webhook may take half a minute
                    told = (alert.end, alert.notification, alert.folder)
                    threading.Thread(target=notify, args=told, daemon=True).start()

    @contextmanager
    def _patience(self) -> Iterator[None]:
        try:
            yield
        except (WorkError, OSError, sqlite3.Error) as error:
            self._tell(str(error))

    def _beat(self) -> None:
        """Writes a heartbeat, if it is time to."""
        if time.monotonic() - self._beaten >= EVERY:
            beat(self._store, datetime.now(UTC))
            self._beaten = time.monotonic()

    def _reopen_if_replaced(self) -> None:
        if self._store.is_replaced():
            self._tell(f"{self._store.path} was replaced: it is opened anew")
            self._store.close()
            self._store = Store(self._workspace)
            announce(self._store, self._slots)

    def _tell(self, problem: str) -> None:
        """Logs a problem, unless it was logged lately."""
        now = time.monotonic()
        if now - self._told.get(problem, -float("inf")) >= AGAIN:
            self._told = {text: told for text, told in self._told.items() if now - told < AGAIN} | {problem: now}
            log.error("%s", problem)

    def _tell_what_ended(self) -> None:
        before = self._active
        self._active = {tick.key for tick in self._store.open_ticks() if tick.state != "waiting"}
        for key in before - self._active:
            if (tick := self._store.tick(key)) is not None:
                log.info("%s: %s%s", tick.run or key, tick.state, f": {tick.reason}" if tick.reason else "")
        if before - self._active:
            self._clean()

    def _clean(self) -> None:
        """Has a process remove what the workspace need not keep, if its settings say what it keeps."""
        is_at_work = self._cleaning is not None and self._cleaning.poll() is None
        if not is_at_work and (self._workspace / SETTINGS).is_file():
            words = child.command("pipelines", "clean", "--workspace", str(self._workspace))
            self._cleaning = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def _wait_for_runs(self) -> None:
        """Launches nothing more. What is due from now on is for the next scheduler."""
        told = 0
        while self._stops == 1:
            with self._patience():
                end_dead(self._store, self._launcher, self._workspace, datetime.now(UTC))
                self._tell_what_ended()
                self._active = {key for key in self._active if self._launcher.is_running(key)}
                if not self._active:
                    return
                if told != len(self._active):
                    told = len(self._active)
                    log.info("launching nothing more; waiting for %s", counted(told, "run"))
                self._beat()
            time.sleep(1)


def _ahead() -> float:
    """Returns the seconds by which the wall clock is ahead of the monotonic clock."""
    return time.time() - time.monotonic()
