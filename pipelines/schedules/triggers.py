"""Schedules without a cron: a success of another experiment, or other data, puts a tick into the queue.

Successes are those of whole runs in the same workspace, by schedules or by hand; several, while a run is at work, make
one tick. A process of its own (`pipelines/schedules/poll.py`) looks at data, because a bucket may take its time.
"""

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from elboflow.settings import RequestError, WorkError
from pipelines.schedules import polls
from pipelines.schedules.launch import Launcher
from pipelines.schedules.states import Key, Schedule, Tick
from pipelines.schedules.store import Store
from pipelines.targets.local.record import EXPERIMENT, FILE, Record, read
from pipelines.timing import Timing
from pipelines.timing.trigger import After, Changed, circle, parsed

_LAST_STEP = "register"


def record_trigger(store: Store, launcher: Launcher, workspace: Path, schedule: Schedule, now: datetime) -> None:
    """Puts a tick into the queue where an experiment has succeeded since the last; or has the data looked at."""
    trigger = parsed(schedule.timing.cron)
    if now < schedule.settled:  # the clock was ahead
        store.change(schedule.id, settled=now)
    elif isinstance(trigger, After):
        _after(store, workspace, schedule, trigger.experiment, now)
    elif isinstance(trigger, Changed):
        polled = polls.last_look(store, schedule.id)
        if schedule.paused is None and (polled is None or not polled <= now < polled + trigger.every):
            polls.begin(store, schedule.id, now)
            launcher.look_at_data(schedule)


def enqueue(store: Store, schedule: Schedule, moment: datetime, date: str | None = None) -> bool:
    """Puts a tick of a trigger into the queue, within a transaction; returns whether the schedule has room for it."""
    open_ticks = store.open_ticks(schedule.id)
    if len(open_ticks) >= schedule.timing.max_active:
        return False
    key = Key(schedule.id, moment)
    if store.tick(key) is None:
        store.record([Tick(key, "tick", "waiting")])
        if date is not None:
            store.record_date(key, date)
    return True


def require_no_circle(store: Store, experiment: str, timing: Timing) -> None:
    """Refuses a new schedule that would wait for a success which waits for its own.

    Raises:
        RequestError: It does; the message names the experiments.
    """
    refuse_circle([*((each.name, each.timing.cron) for each in store.schedules()), (experiment, timing.cron)])


def refuse_circle(schedules: Iterable[tuple[str, str]]) -> None:
    """Raises RequestError for schedules, as experiment and cron or trigger, that wait for each other in a circle."""
    if (found := circle(edges(schedules))) is not None:
        raise RequestError(f"trigger.after: {' runs after '.join(found)}: they would wait for each other, or never end")


def edges(schedules: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
    """Returns the experiments whose successes start an experiment, by its name."""
    after: dict[str, set[str]] = {}
    for experiment, cron in schedules:
        if isinstance(trigger := parsed(cron), After):
            after.setdefault(experiment, set()).add(trigger.experiment)
    return after


def depth(after: Mapping[str, set[str]], experiment: str) -> int:
    """Returns the length of the longest chain of triggers that ends in an experiment; there is no circle."""
    return max((1 + depth(after, before) for before in after.get(experiment, ())), default=0)


def _after(store: Store, workspace: Path, schedule: Schedule, experiment: str, now: datetime) -> None:
    success = _latest_success(workspace, experiment, schedule.settled, now)
    if success is None or success.ended is None:
        return
    with store.transaction():
        if schedule.paused is not None:
            reason = "the schedule was paused"
            store.record([Tick(Key(schedule.id, success.ended), "tick", "skipped", ended=now, reason=reason)])
        elif not enqueue(store, schedule, success.ended, _date(workspace, success)):
            return  # it comes again when the run that is at work has ended
        store.change(schedule.id, settled=success.ended)


def _latest_success(workspace: Path, experiment: str, after: datetime, until: datetime) -> Record | None:
    """Returns the latest run of an experiment that succeeded, with all its steps, between two moments."""
    found: list[Record] = []
    for file in workspace.glob(f"runs/{experiment}-*/{FILE}"):
        with suppress(OSError, WorkError):  # `elboflow runs` says what is damaged
            if datetime.fromtimestamp(file.stat().st_mtime, UTC) < after:
                continue
            record = read(file.parent)
            if record is None or record.experiment != experiment or record.status != "succeeded":
                continue
            if record.ended is not None and after < record.ended <= until and _LAST_STEP in record.planned:
                found.append(record)
    return max(found, key=lambda record: record.ended or after, default=None)


def _date(workspace: Path, run: Record) -> str | None:
    """Returns the date of a run's data, which the run that follows it reads, too."""
    try:
        given = json.loads((workspace / "runs" / run.run / EXPERIMENT).read_text(encoding="utf-8")).get("date")
    except (OSError, ValueError, AttributeError):
        return None
    return given if isinstance(given, str) else None
