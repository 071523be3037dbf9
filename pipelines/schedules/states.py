"""What is known of a schedule of this machine, and of each of its ticks."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from pipelines.targets import RunState, Timing

Origin = Literal["tick", "catch-up", "hand"]
"""Why something was to run: a tick came, a missed tick is made up for, or a person asked for it."""

State = Literal["waiting", "claimed", "running", "succeeded", "failed", "cancelled", "skipped", "missed"]
"""What became of a tick. A `waiting` one stands in line for a place; a `claimed` one has it, and is launched."""

NeverRan = Literal["skipped", "missed"]

OPEN: frozenset[State] = frozenset({"waiting", "claimed", "running"})
AT_WORK: frozenset[State] = frozenset({"claimed", "running"})


@dataclass(frozen=True)
class Schedule:
    """A schedule. Times are in UTC.

    Attributes:
        id: The experiment's name and a number that is never used again.
        name: The experiment's name.
        experiment: The experiment, resolved, as JSON values.
        folder: The folder in which the schedule was made, which the experiment's paths are relative to: an absolute
            path. Where it contains the workspace, it goes along when the two are moved or copied.
        timing: When it ticks.
        if_changed: Whether a run is skipped when neither data nor experiment changed.
        created: When it was made.
        settled: Up to here, every tick has its record.
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
    """Names a tick: a schedule, and a moment in UTC."""

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
    """The record of a tick. Times are in UTC.

    Attributes:
        key: Its schedule and its moment.
        origin: Why it was to run.
        state: What became of it.
        attempts: How many processes were started for it that ended before they took it.
        process: The process id of the one that runs it.
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


@dataclass(frozen=True)
class Range:
    """The record of ticks that follow each other, of which none ran, all for the same reason. Times are in UTC.

    Attributes:
        schedule: Their schedule.
        first: The first of them.
        last: The last of them.
        ticks: How many they are.
        state: What became of each.
        reason: Why.
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
    """The run of a tick, or what became of it, or of several ticks, instead, as `history` shows it.

    Attributes:
        tick: Its moment; of several ticks, the last.
        first: The first of several ticks.
        ticks: How many they are.
        future: Whether the tick has not come yet: it was recorded by a clock that was ahead.
        origin: Why it was to run.
        record: What became of it; `status` is as near as the words for runs come to that.
        place: Its place in the line of waiting ticks, from 1.
        line: How many wait there.
        exit_code: The run's.
        log: Everything that it printed.
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
