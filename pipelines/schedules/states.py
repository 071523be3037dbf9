"""The records of this machine's schedules and of each of their ticks. All times are in UTC."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from pipelines.targets import RunState
from pipelines.timing import Timing

Origin = Literal["tick", "catch-up", "hand"]
"""Why a run was asked for: a tick in time, a missed tick that is run later, or `elboflow schedule run`."""

State = Literal["waiting", "claimed", "running", "succeeded", "failed", "cancelled", "skipped", "missed"]
"""The state of a tick. A `waiting` one is in the queue; a `claimed` one has a slot and is being launched."""

NeverRan = Literal["skipped", "missed"]

OPEN: frozenset[State] = frozenset({"waiting", "claimed", "running"})
ACTIVE: frozenset[State] = frozenset({"claimed", "running"})
"""The states of a tick that holds a slot."""


@dataclass(frozen=True)
class Schedule:
    """A schedule.

    Attributes:
        id: The experiment's name and a number that is never used again.
        name: The experiment's name.
        experiment: The experiment, resolved, as JSON values: a copy of what its files said at creation.
        folder: The working directory at creation, absolute. The experiment's paths are relative to it. A folder that
            contains the workspace follows the workspace when both are moved or copied.
        timing: When it ticks.
        if_changed: Whether a run is skipped when neither data nor experiment changed.
        created: When it was created.
        settled: Every tick up to this moment has its record.
        paused: Since when it is paused; None where it is not.
        deleted: When it was deleted; None where it was not.
    """

    id: str
    name: str
    experiment: dict[str, Any]
    folder: str
    timing: Timing
    if_changed: bool
    created: datetime
    settled: datetime
    paused: datetime | None = None
    deleted: datetime | None = None


@dataclass(frozen=True)
class Key:
    """Identifies a tick: a schedule and a moment."""

    schedule: str
    time: datetime

    @property
    def folder(self) -> str:
        """The name of the tick's folder: its moment."""
        form = "%Y-%m-%dT%H-%M-%S.%fZ" if self.time.microsecond else "%Y-%m-%dT%H-%MZ"
        return self.time.astimezone(UTC).strftime(form)

    def __str__(self) -> str:
        return f"{self.schedule}/{self.folder}"


@dataclass(frozen=True)
class Tick:
    """The record of a tick.

    Attributes:
        key: Its schedule and its moment.
        origin: Why its run was asked for.
        state: Its state.
        attempts: How many processes were started for it and ended before they claimed it.
        process: The id of the process that runs it.
        run: The run's name, as `elboflow status` and `logs` take it.
        exit_code: The run's.
        reason: Why it failed or did not run.
    """

    key: Key
    origin: Origin
    state: State
    attempts: int = 0
    process: int | None = None
    started: datetime | None = None
    ended: datetime | None = None
    run: str | None = None
    exit_code: int | None = None
    reason: str | None = None

    @property
    def last(self) -> datetime:
        """Its moment."""
        return self.key.time


@dataclass(frozen=True)
class Range:
    """The record of consecutive ticks that did not run for one reason.

    Attributes:
        schedule: Their schedule.
        first: The first of them.
        last: The last of them.
        ticks: Their number.
        state: The state of each.
        reason: Why they did not run.
        recorded: When the last of them was recorded.
    """

    schedule: str
    first: datetime
    last: datetime
    ticks: int
    state: NeverRan
    reason: str
    recorded: datetime


@dataclass(frozen=True)
class TickState(RunState):
    """A tick or a range of ticks, as `history` shows it. `id` is empty where there was no run.

    Attributes:
        tick: Its moment; of a range, the last.
        first: The first tick of a range.
        ticks: The number of ticks.
        future: Whether the tick is still to come: its run was recorded while the clock was ahead.
        origin: Why its run was asked for.
        record: Its state; `status` is the nearest status of a run.
        place: Its position in the queue, from 1.
        line: The length of the queue.
        exit_code: The run's.
        log: The file of everything that it printed.
    """

    tick: datetime | None = None
    first: datetime | None = None
    ticks: int = 1
    future: bool = False
    origin: Origin = "tick"
    record: State = "claimed"
    place: int | None = None
    line: int | None = None
    exit_code: int | None = None
    log: str | None = None
