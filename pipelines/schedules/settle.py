"""Settling: every tick that is due gets its one record, which says what is to become of it.

Whoever settles does it in one transaction, so that it does not matter who does, how often, or where it was killed.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from pipelines.schedules.calendar import Calendar
from pipelines.schedules.states import AT_WORK, Key, Origin, Schedule, State, Tick
from pipelines.schedules.store import Store

GRACE = timedelta(minutes=5)
"""How late the latest tick still counts as in time: a machine may be busy, a daemon be started anew."""


def settle(store: Store, id: str, now: datetime) -> None:
    """Records all ticks of a schedule up to now, and claims what is to be launched.

    A clock that was ahead and is put right leaves records of moments that have not come: they are forgotten and come
    again, but for those of ticks that ran, which keep theirs.
    """
    with store.transaction():
        schedule = store.schedule(id)
        if schedule is None or schedule.deleted is not None:
            return
        if now < schedule.settled:
            store.forget(id, now)
            schedule = replace(schedule, settled=now)
            store.change(id, settled=now)
        due = list(Calendar(schedule.timing).between(schedule.settled, now))
        if due:
            known = store.recorded(id, schedule.settled)
            open_ticks = store.open_ticks(id)
            due_now = [tick for tick in due if tick not in known]
            records = list(_decided(schedule, due_now, now, open_ticks))
            if schedule.timing.catch_up == "last" and any(tick.state in ("waiting", "claimed") for tick in records):
                _supersede(store, open_ticks)
            store.record(records)
            store.change(id, settled=due[-1])
        if schedule.paused is None:
            _let_in(store, schedule)


def _decided(schedule: Schedule, due: list[datetime], now: datetime, open_ticks: list[Tick]) -> Iterator[Tick]:
    def tick(time: datetime, state: State, reason: str | None = None, origin: Origin = "tick") -> Tick:
        ended = None if state in ("waiting", "claimed") else now
        return Tick(Key(schedule.id, time), origin, state, ended=ended, reason=reason)

    paused = schedule.paused
    asleep = [time for time in due if paused is not None and time > paused]
    yield from (tick(time, "skipped", "the schedule was paused") for time in asleep)
    due = due[: len(due) - len(asleep)]
    in_time = due[-1:] if due and now - due[-1] <= GRACE else []
    missed = due[: len(due) - len(in_time)]
    made_up: list[datetime] = []
    if schedule.timing.catch_up == "all":
        made_up = missed
    elif schedule.timing.catch_up == "last" and not in_time:
        made_up = missed[-1:]
    for time in missed[: len(missed) - len(made_up)]:
        yield tick(time, "missed", "no scheduler was at work when it came, or the clock jumped past it")
    yield from (tick(time, "waiting", origin="catch-up") for time in made_up)
    at_work = sum(one.state in AT_WORK for one in open_ticks)
    for time in in_time:
        if made_up or any(one.state == "waiting" for one in open_ticks):
            yield tick(time, "waiting")  # behind those that came before it
        elif at_work >= schedule.timing.max_active:
            runs = "run is" if at_work == 1 else "runs are"
            reason = f"{at_work} {runs} still at work, and max_active is {schedule.timing.max_active}"
            yield tick(time, "skipped", reason)
        else:
            yield tick(time, "claimed")


def _supersede(store: Store, open_ticks: list[Tick]) -> None:
    """Where only the last of the missed ticks is made up for, it is no longer the one that has been waiting."""
    for tick in open_ticks:
        if tick.state == "waiting":
            store.turn(tick.key, "waiting", "missed", reason="a later tick is made up for instead")


def _let_in(store: Store, schedule: Schedule) -> None:
    """Claims the ticks that have waited longest, as many as may be at work."""
    open_ticks = store.open_ticks(schedule.id)
    places = schedule.timing.max_active - sum(tick.state in AT_WORK for tick in open_ticks)
    waiting = [tick for tick in open_ticks if tick.state == "waiting"]
    for tick in waiting[: max(places, 0)]:
        store.turn(tick.key, "waiting", "claimed")
