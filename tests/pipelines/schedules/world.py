"""A world for the scheduler in which time is a number: its clock, and its processes, which can be killed at any step.

Only the border is made up: when it is now, and that a process was started. Schedules, ticks and the statements that
change them are the real ones, in a real `schedules.db`.
"""

import random
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipelines.schedules import database
from pipelines.schedules.one_pass import one_pass
from pipelines.schedules.states import Key, Schedule, Tick
from pipelines.schedules.store import Store
from pipelines.schedules.tick import claim
from pipelines.timing import Timing
from pipelines.timing.calendar import Calendar


class Killed(BaseException):
    """kill -9: nothing that tidies up gets to know of it."""


@dataclass(eq=False)
class Child:
    """The process of a tick: it starts up, takes its tick, runs for a while, and records that it has succeeded."""

    key: Key
    takes: datetime
    ends: datetime
    phase: str = "starting"


class World:
    """A clock, the processes of ticks, and a scheduler that comes and goes.

    Args:
        workspace: The folder of the database.
        seed: Of all that is random.
        now: When it begins.
        runs_for: The longest that a run takes.
    """

    def __init__(self, workspace: Path, seed: int, now: datetime, runs_for: timedelta = timedelta(minutes=40)) -> None:
        self.workspace, self.now, self.random = workspace, now, random.Random(seed)
        self.runs_for = runs_for
        self.kills = 0.0
        """How likely it is to be killed before, and after, every operation on the database and every launch."""
        self.places = 0
        """How many times somebody could have been killed so far."""
        self.kill_at: int | None = None
        self.max_runs = 1000
        """How many runs of all schedules may be at work at once."""
        self.ran: Counter[Key] = Counter()
        self.killed: Counter[str] = Counter()
        self.children: list[Child] = []
        self.looked: list[datetime] = []
        """When a scheduler came to the end of a pass."""
        self.gone: dict[Key, datetime] = {}
        """When a tick's last process ended, however it did."""
        self._own: list[Child] = []
        self._scheduler: Store | None = None
        self._processes = Store(workspace)

    def maybe_kill(self, where: str) -> None:
        """Kills whoever is at work, or not: by chance, or at the one place that a test has named."""
        self.places += 1
        chance = self.kills / 20 if "SELECT" in where else self.kills  # most operations only look
        if self.places == self.kill_at or (chance and self.random.random() < chance):
            self.killed[where] += 1
            raise Killed(where)

    def inject(self, patch: pytest.MonkeyPatch) -> None:
        """Puts the chance to be killed around every operation on the database."""
        for name in ("read", "write", "write_all"):
            real = getattr(database.Database, name)

            def around(self_: database.Database, command: str, *values: Any, real: Any = real) -> Any:
                self.maybe_kill(f"before {command.split()[0]}")
                result = real(self_, command, *values)
                self.maybe_kill(f"after {command.split()[0]}")
                return result

            patch.setattr(database.Database, name, around)

    def start(self, key: Key) -> None:
        """Starts the process of a tick, as a launcher does."""
        self.maybe_kill("before the launch")
        takes = self.now + timedelta(seconds=self.random.uniform(0.1, 3))
        self.children.append(Child(key, takes, takes + self.runs_for * self.random.random()))
        self._own.append(self.children[-1])
        self.maybe_kill("after the launch")

    def reap(self) -> set[Key]:
        """Returns the ticks whose processes the scheduler of now has started and outlived."""
        ended = {child.key for child in self._own if child not in self.children}
        self._own = [child for child in self._own if child in self.children]
        return ended

    def is_running(self, key: Key) -> bool:
        """Returns whether a tick has a process: one of another scheduler is not seen before it has begun."""
        return any(child.key == key and (child in self._own or child.phase != "starting") for child in self.children)

    def look_at_data(self, schedule: Schedule) -> None:
        """Looks at no data: its schedules have none."""

    def look(self) -> bool:
        """Lets a scheduler do one pass, a new one if the last was killed; returns whether it was killed."""
        try:
            if self._scheduler is None:
                self._own, self._scheduler = [], Store(self.workspace)
            one_pass(self._scheduler, self, self.workspace, self.now, self.max_runs)
        except Killed:
            if self._scheduler is not None:
                self._scheduler.close()
                self._scheduler = None
            return True
        self.looked.append(self.now)
        return False

    def until(self, moment: datetime) -> None:
        """Lets time pass for the processes."""
        while due := [child for child in self.children if self._next(child) <= moment]:
            child = min(due, key=self._next)
            self.now = max(self.now, self._next(child))
            try:
                self._go_on(child)
            except Killed:
                self._ends(child)
        self.now = moment

    def power_fails(self) -> None:
        """Ends the scheduler and all processes at once."""
        for child in list(self.children):
            self._ends(child)
        if self._scheduler is not None:
            self._scheduler.close()
            self._scheduler = None

    def _ends(self, child: Child) -> None:
        self.children.remove(child)
        self.gone[child.key] = self.now

    @staticmethod
    def _next(child: Child) -> datetime:
        return child.takes if child.phase == "starting" else child.ends

    def _go_on(self, child: Child) -> None:
        if child.phase == "starting":
            if claim(self._processes, child.key, child.key.schedule) is None:
                self._ends(child)
                return
            child.phase = "running"
            self.ran[child.key] += 1
        else:
            self._processes.turn(child.key, "running", "succeeded", ended=self.now, exit_code=0)
            self._ends(child)


def add(workspace: Path, timing: Timing, created: datetime, id: str = "nightly-1", **more: Any) -> Schedule:
    """Adds a schedule to a workspace; its experiment is none that could run, unless it is given."""
    values: dict[str, Any] = {"name": "nightly", "experiment": {"name": "nightly"}, "folder": str(workspace), **more}
    schedule = Schedule(id=id, timing=timing, if_changed=False, created=created, settled=created, **values)
    with Store(workspace) as store, store.transaction():
        store.add(schedule)
    return schedule


def records(workspace: Path, id: str) -> list[Tick]:
    """Returns the record of every tick of a schedule, the oldest first: those of a range each for itself.

    No tick is in two records, and a range holds as many ticks as it says.
    """
    with Store(workspace) as store:
        schedule = store.schedule(id)
        found = store.history(id, 1_000_000, utc(9000, 1, 1))
        assert not store.damaged
    assert schedule is not None
    calendar, each = Calendar(schedule.timing), list[Tick]()
    for record in found:
        if isinstance(record, Tick):
            each.append(record)
            continue
        times = list(calendar.between(record.first - timedelta(microseconds=1), record.last))
        assert (times[0], times[-1], len(times)) == (record.first, record.last, record.ticks), record
        each += [
            Tick(Key(id, time), "tick", record.state, ended=record.recorded, reason=record.reason) for time in times
        ]
    each.sort(key=lambda tick: tick.key.time)
    assert len({tick.key for tick in each}) == len(each), "a tick has two records"
    return each


def utc(year: int, month: int, day: int, hour: int = 0, minute: int = 0, second: int = 0) -> datetime:
    """A moment in UTC."""
    return datetime(year, month, day, hour, minute, second, tzinfo=UTC)
