"""One pass over all schedules: records runs whose end nobody saw, records what is due, and launches what has a slot."""

import logging
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path

from elboflow.settings import RequestError, WorkError
from pipelines.schedules.launch import Launcher, tick_folder, tick_outcome
from pipelines.schedules.record_due import record_due
from pipelines.schedules.states import ACTIVE, Schedule, Tick
from pipelines.schedules.store import Store
from pipelines.schedules.triggers import record_trigger
from pipelines.timing import Timing
from pipelines.timing.calendar import Calendar
from pipelines.timing.trigger import parsed

ATTEMPTS = 3
"""Processes that may end before they claim a tick; then it has failed."""

BY_HAND = timedelta(seconds=30)
"""How long `elboflow schedule run` has to launch its own tick before the scheduler does."""

log = logging.getLogger("elboflow.schedules")


def one_pass(
    store: Store,
    launcher: Launcher,
    workspace: Path,
    now: datetime,
    slots: int,
    heartbeat: Callable[[], object] = lambda: None,
) -> dict[str, str]:
    """Does everything that is due. If it is killed, the next pass of any process completes it.

    Returns:
        The schedules that cannot tick, such as one whose timezone the tz database no longer has, and why.
    """
    end_dead(store, launcher, workspace, now)  # first: a dead run must not hold the slot of a tick that is due
    broken = _record_all_due(store, launcher, workspace, now, heartbeat)
    open_ticks = store.open_ticks()
    if any(tick.state == "waiting" for tick in open_ticks):
        admit(store, slots)
        open_ticks = store.open_ticks()
    active = sum(
        tick.state == "running" or launcher.is_running(tick.key) for tick in open_ticks if tick.state != "waiting"
    )
    for tick in open_ticks:
        is_new_by_hand = tick.origin == "hand" and timedelta() <= now - tick.key.time <= BY_HAND
        if tick.state != "claimed" or is_new_by_hand or launcher.is_running(tick.key):
            continue
        if active >= slots:  # claimed by another scheduler, which had more slots
            break
        _launch(store, launcher, tick, now)
        active += 1
        heartbeat()
    return broken


def end_dead(store: Store, launcher: Launcher, workspace: Path, now: datetime) -> None:
    """Records the end of every tick whose processes are gone."""
    ended = launcher.reap()
    for tick in store.open_ticks():
        if tick.state == "running" and not launcher.is_running(tick.key):
            state, reason = tick_outcome(tick_folder(workspace, tick.key), None)
            if store.turn(tick.key, "running", state, ended=now, reason=reason):
                log.warning("%s: nobody saw the end of its run: %s", tick.key, reason or state)
        elif tick.state == "claimed" and tick.key in ended and not launcher.is_running(tick.key):
            _try_again(store, tick, now)


def _record_all_due(
    store: Store, launcher: Launcher, workspace: Path, now: datetime, heartbeat: Callable[[], object]
) -> dict[str, str]:
    broken = {}
    for schedule in store.schedules():
        heartbeat()
        try:
            if parsed(schedule.timing.cron) is not None:
                record_trigger(store, launcher, workspace, schedule, now)
                continue
            while _is_due(schedule, now) and not record_due(store, schedule.id, now):
                heartbeat()
        except (RequestError, WorkError, sqlite3.IntegrityError, OverflowError) as error:
            broken[schedule.id] = str(error)
    return broken


def _is_due(schedule: Schedule, now: datetime) -> bool:
    following = _next(schedule.timing, schedule.settled)
    is_ahead = now < schedule.settled  # the clock was
    return is_ahead or (following is not None and following <= now)


@lru_cache(maxsize=10_000)
def _next(timing: Timing, moment: datetime) -> datetime | None:
    """Returns the first tick after a moment. Cached, because every pass asks again."""
    return Calendar(timing).after(moment)


def _launch(store: Store, launcher: Launcher, tick: Tick, now: datetime) -> None:
    try:
        launcher.start(tick.key)
    except OSError as error:
        log.error("%s: cannot be launched: %s", tick.key, error)
        store.turn(tick.key, "claimed", "failed", ended=now, reason=f"it could not be launched: {error}")
    else:
        log.info("%s: launched", tick.key)


def _try_again(store: Store, tick: Tick, now: datetime) -> None:
    attempts = tick.attempts + 1
    if attempts < ATTEMPTS:
        store.turn(tick.key, "claimed", "claimed", attempts=attempts)
        return
    reason = f"{attempts} processes were started for it and ended before they began; their output is in its log"
    if store.turn(tick.key, "claimed", "failed", ended=now, attempts=attempts, reason=reason):
        log.error("%s: %s", tick.key, reason)


def admit(store: Store, slots: int) -> None:
    """Claims free slots, which all schedules share, for the first ticks whose schedules allow one more run."""
    with store.transaction():
        open_ticks = store.open_ticks()
        active = Counter(tick.key.schedule for tick in open_ticks if tick.state in ACTIVE)
        schedules = {schedule.id: schedule for schedule in store.schedules()}
        for tick in queued(open_ticks, schedules.values()):
            if active.total() >= slots:
                return
            id = tick.key.schedule
            if active[id] < schedules[id].timing.max_active and store.turn(tick.key, "waiting", "claimed"):
                active[id] += 1


def queued(open_ticks: Sequence[Tick], schedules: Iterable[Schedule]) -> list[Tick]:
    """Returns the waiting ticks, the next first, without those of paused schedules.

    They are ordered by their time, then by the name of their schedule. Caught-up ticks come after all others, and so do
    the ticks behind them in their own schedule: a long backlog must not delay tonight's runs.
    """
    names = {schedule.id: schedule.name for schedule in schedules if schedule.paused is None}
    queue: list[tuple[bool, datetime, str, str, Tick]] = []
    with_backlog: set[str] = set()
    for tick in open_ticks:
        id = tick.key.schedule
        if tick.state == "waiting" and id in names:
            if tick.origin == "catch-up":
                with_backlog.add(id)
            queue.append((id in with_backlog, tick.key.time, names[id], id, tick))
    return [tick for *_, tick in sorted(queue, key=lambda each: each[:4])]
