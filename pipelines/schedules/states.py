"""The records of this machine's schedules and of each of their ticks. All times are in UTC."""

import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Strict

from pipelines.targets import RunState
from pipelines.timing import Count, Moment, Text, Timing
from preprocessing.sources import Source

Origin = Literal["tick", "catch-up", "hand"]
"""Why a run was asked for: a tick in time, a missed tick that is run later, or `elboflow schedule run`."""

State = Literal["waiting", "claimed", "running", "succeeded", "failed", "cancelled", "skipped", "missed"]
"""The state of a tick. A `waiting` one is in the queue; a `claimed` one has a slot and is being launched."""

NeverRan = Literal["skipped", "missed"]

OPEN: frozenset[State] = frozenset({"waiting", "claimed", "running"})
ACTIVE: frozenset[State] = frozenset({"claimed", "running"})
"""The states of a tick that holds a slot."""


Number = Annotated[int, Strict()]


def _section(text: Any) -> Any:
    try:
        value = json.loads(text) if isinstance(text, str) else None
    except RecursionError:
        value = None
    if not isinstance(value, dict):
        raise ValueError
    return value


@dataclass(frozen=True)
class Schedule:
    """A schedule.

    Attributes:
        id: The experiment's name and a number that is never used again.
        experiment: The experiment, resolved, as JSON values: a copy of what its files said at creation.
        folder: The working directory at creation, absolute. The experiment's paths are relative to it. A folder that
            contains the workspace follows the workspace when both are moved or copied.
        if_changed: Whether a run is skipped when neither data nor experiment changed.
        settled: Every tick up to this moment has its record.
        paused: Since when it is paused; None where it is not.
        deleted: When it was deleted; None where it was not.
        label: The name that it was given, which no other one has that was not deleted.
        group: The schedules that `elboflow schedule apply` keeps together; None for one that was made by hand.
    """

    id: Text
    name: Text
    experiment: Annotated[dict[str, Any], BeforeValidator(_section)]
    folder: Text
    timing: Timing
    if_changed: bool
    created: Moment
    settled: Moment
    paused: Moment | None = None
    deleted: Moment | None = None
    label: Text | None = None
    group: Text | None = None

    @property
    def tracking_uri(self) -> str | None:
        """The MLflow that its experiment names; None: the environment in which a run is launched says which."""
        named: Any = self.experiment
        for key in ("targets", "local", "tracking_uri"):
            named = named.get(key) if isinstance(named, dict) else None
        return named if isinstance(named, str) else None


@dataclass(frozen=True)
class Key:
    """Identifies a tick: a schedule and a moment."""

    schedule: Text
    time: Moment

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
        attempts: How many processes were started for it and ended before they claimed it.
        process: The id of the process that runs it.
        run: The run's name, as `elboflow status` and `logs` take it.
    """

    key: Key
    origin: Origin
    state: State
    attempts: Number = 0
    process: Number | None = None
    started: Moment | None = None
    ended: Moment | None = None
    run: Text | None = None
    exit_code: Number | None = None
    reason: Text | None = None

    @property
    def last(self) -> datetime:
        """Its moment."""
        return self.key.time


@dataclass(frozen=True)
class Range:
    """The record of consecutive ticks that did not run for one reason.

    Attributes:
        recorded: When the last of them was recorded.
    """

    schedule: Text
    first: Moment
    last: Moment
    ticks: Count
    state: NeverRan
    reason: Text
    recorded: Moment


@dataclass(frozen=True)
class TickState(RunState):
    """A tick or a range of ticks, as `history` shows it. `id` is empty where there was no run.

    Attributes:
        tick: Its moment; of a range, the last.
        first: The first tick of a range.
        future: Whether the tick is still to come: its run was recorded while the clock was ahead.
        record: Its state; `status` is the nearest status of a run.
        place: Its position in the queue, from 1.
        line: The length of the queue.
        log: The file of everything that it printed.
        date: The date of its data, of a run by hand that was for one.
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
    date: str | None = None


def kept(folder: str, workspace: Path) -> str:
    """Returns a folder as it is stored: relative to the workspace (a path without symbolic links) if that is in it.

    So the schedules of a moved project go on, and those of a copy work in the copy.
    """
    try:
        real = Path(folder).resolve()
    except (OSError, RuntimeError, ValueError):  # a damaged row may hold anything
        return folder
    # The root contains every workspace, but is no project that could be moved.
    if not Path(folder).is_absolute() or real == Path(real.anchor) or not workspace.is_relative_to(real):
        return folder
    return os.path.relpath(real, workspace)


def located(folder: str, workspace: Path) -> str:
    """Returns the absolute path of a stored folder."""
    return os.path.normpath(workspace / folder)


def is_dated(experiment: dict[str, Any]) -> bool:
    """Returns whether the data of a kept experiment have a date: whether a location of its source has `{date}`."""
    data: Any = experiment.get("data")
    try:
        return Source.parse(data["source"]).is_dated
    except (KeyError, TypeError, ValueError):  # of another version, or damaged: its run says what is wrong
        return False


def absent(schedule: Schedule) -> str | None:
    """Returns why no run can work in a schedule's folder; None where it exists."""
    if Path(schedule.folder).is_dir():
        return None
    return f"the folder {schedule.folder}, in which the schedule was made, is no longer there"
