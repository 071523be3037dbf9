"""One pass over all schedules: what ended unseen is recorded, what is due is settled, what is claimed is launched."""

import logging
from datetime import datetime, timedelta
from pathlib import Path

from pipelines.schedules.calendar import Calendar
from pipelines.schedules.ending import ending
from pipelines.schedules.launch import Launcher, tick_folder
from pipelines.schedules.settle import settle
from pipelines.schedules.states import Schedule, Tick
from pipelines.schedules.store import Store
from settings import RequestError

ATTEMPTS = 3
"""Processes that may end before they take a tick; then it has failed."""

BY_HAND = timedelta(seconds=30)
"""How long a tick that a person asked for is left to the command that launches it."""

log = logging.getLogger("elboflow.schedules")


def work(store: Store, launcher: Launcher, workspace: Path, now: datetime) -> dict[str, str]:
    """Does everything that is to be done now. Killed anywhere, it is made good by the next pass, whoever's that is.

    Returns:
        The schedules that cannot tick, such as one whose timezone the tz database no longer has, and why.
    """
    end_dead(store, launcher, workspace, now)  # first: what died must not keep a tick that is due from its place
    broken = _settle_due(store, now)
    for tick in store.open_ticks():
        by_somebody = tick.origin == "hand" and now - tick.key.time <= BY_HAND
        if tick.state == "claimed" and not by_somebody and not launcher.at_work(tick.key):
            _launch(store, launcher, tick, now)
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


def _settle_due(store: Store, now: datetime) -> dict[str, str]:
    broken = {}
    waiting = {tick.key.schedule for tick in store.open_ticks() if tick.state == "waiting"}
    for schedule in store.schedules():
        try:
            if schedule.id in waiting or _is_due(schedule, now):
                settle(store, schedule.id, now)
        except RequestError as error:
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
