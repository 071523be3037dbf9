"""One pass over all schedules: what ended unseen is recorded, what is due is settled, what has a place is launched."""

import logging
import sqlite3
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from elboflow.settings import RequestError
from pipelines.schedules.calendar import Calendar
from pipelines.schedules.ending import ending
from pipelines.schedules.launch import Launcher, tick_folder
from pipelines.schedules.line import let_in
from pipelines.schedules.settle import settle
from pipelines.schedules.states import Schedule, Tick
from pipelines.schedules.store import Store

ATTEMPTS = 3
"""Processes that may end before they take a tick; then it has failed."""

BY_HAND = timedelta(seconds=30)
"""How long a tick that a person asked for is left to the command that launches it."""

_NONE = timedelta()

log = logging.getLogger("elboflow.schedules")


def _none() -> None:
    """Does nothing."""


def work(
    store: Store, launcher: Launcher, workspace: Path, now: datetime, places: int, pulse: Callable[[], object] = _none
) -> dict[str, str]:
    """Does everything that is to be done now. If it is killed, the next pass of any process completes it.

    Args:
        store: The schedules.
        launcher: What starts runs.
        workspace: The workspace's folder.
        now: The time.
        places: How many runs may be at work at once.
        pulse: Called between two steps, of which each is short.

    Returns:
        The schedules that cannot tick, such as one whose timezone the tz database no longer has, and why.
    """
    end_dead(store, launcher, workspace, now)  # first: what died must not keep a tick that is due from its place
    broken = _settle_due(store, now, pulse)
    open_ticks = store.open_ticks()
    if any(tick.state == "waiting" for tick in open_ticks):
        let_in(store, places)
        open_ticks = store.open_ticks()
    at_work = sum(
        tick.state == "running" or launcher.at_work(tick.key) for tick in open_ticks if tick.state != "waiting"
    )
    for tick in open_ticks:
        is_new_by_hand = tick.origin == "hand" and _NONE <= now - tick.key.time <= BY_HAND
        if tick.state != "claimed" or is_new_by_hand or launcher.at_work(tick.key):
            continue
        if at_work >= places:  # of another scheduler, which had more to give
            break
        _launch(store, launcher, tick, now)
        at_work += 1
        pulse()
    return broken


def end_dead(store: Store, launcher: Launcher, workspace: Path, now: datetime) -> None:
    """Records the end of everything whose processes are gone."""
    ended = launcher.reap()
    for tick in store.open_ticks():
        if tick.state == "running" and not launcher.at_work(tick.key):
            state, reason = ending(tick_folder(workspace, tick.key), None)
            if store.turn(tick.key, "running", state, ended=now, reason=reason):
                log.warning("%s: nobody saw the end of its run: %s", tick.key, reason or state)
        elif tick.state == "claimed" and tick.key in ended and not launcher.at_work(tick.key):
            _ended_early(store, tick, now)


def _settle_due(store: Store, now: datetime, pulse: Callable[[], object]) -> dict[str, str]:
    broken = {}
    for schedule in store.schedules():
        pulse()
        try:
            while _is_due(schedule, now) and not settle(store, schedule.id, now):
                pulse()
        except (RequestError, sqlite3.IntegrityError, OverflowError) as error:
            broken[schedule.id] = str(error)
    return broken


def _is_due(schedule: Schedule, now: datetime) -> bool:
    calendar = Calendar(schedule.timing)
    if now < schedule.settled:
        return True
    following = calendar.after(schedule.settled)
    return following is not None and following <= now


def _launch(store: Store, launcher: Launcher, tick: Tick, now: datetime) -> None:
    try:
        launcher.start(tick.key)
    except OSError as error:
        log.error("%s: cannot be launched: %s", tick.key, error)
        store.turn(tick.key, "claimed", "failed", ended=now, reason=f"it could not be launched: {error}")
    else:
        log.info("%s: launched", tick.key)


def _ended_early(store: Store, tick: Tick, now: datetime) -> None:
    attempts = tick.attempts + 1
    if attempts < ATTEMPTS:
        store.turn(tick.key, "claimed", "claimed", attempts=attempts)
        return
    reason = f"{attempts} processes were started for it and ended before they began; the last words are in its log"
    if store.turn(tick.key, "claimed", "failed", ended=now, attempts=attempts, reason=reason):
        log.error("%s: %s", tick.key, reason)
