"""Gives every tick that is due its one record, which says whether it runs, and if not, why.

A tick that is to run has a record of its own, and waits in the queue. Consecutive ticks that do not run for one reason
share a record: a machine that was off for a year missed half a million ticks of `* * * * *`.

Each step is one transaction of bounded length: safe to repeat, in any process, also after a kill.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from pipelines.schedules.states import ACTIVE, Key, NeverRan, Range, Schedule, Tick
from pipelines.schedules.store import Store
from pipelines.timing.calendar import INSTANT, MOST, Calendar, on_wall_clock
from pipelines.timing.trigger import parsed

GRACE = timedelta(minutes=5)
"""How late the latest tick still counts as in time: a machine may be busy, or a scheduler restart."""

STEP = timedelta(days=1000)
"""The time whose ticks one transaction records, at most: a tenth of a second of work."""

Fate = tuple[NeverRan, str]
"""The state of ticks that do not run, and the reason."""

_PAUSED: Fate = ("skipped", "the schedule was paused")


def record_due(store: Store, id: str, now: datetime) -> bool:
    """Records the due ticks of a schedule. Returns False if the step ended before all were recorded.

    A clock that was ahead leaves records of future ticks. They are deleted when the clock is back, and these ticks come
    again, except those that ran.
    """
    with store.transaction():
        schedule = store.schedule(id)
        if schedule is None or schedule.deleted is not None:
            return True
        if parsed(schedule.timing.cron) is not None:  # what came until now has passed, as of a pause
            store.change(id, settled=now)
            return True
        calendar = Calendar(schedule.timing)
        schedule = _without_future(store, schedule, calendar, now)
        awake_until = schedule.paused or now
        caught_up, in_time = _to_run(store, schedule, calendar, awake_until, now)
        runs = [*caught_up, *in_time]
        missed_until = runs[0] - INSTANT if runs else awake_until
        if not _pass_over(store, schedule, calendar, (schedule.settled, missed_until), _missed(schedule), now):
            return False
        if caught_up:
            _catch_up(store, schedule, caught_up)
        for time in in_time:
            _enqueue(store, schedule, calendar, time, now)
        return _pass_over(store, schedule, calendar, (max(schedule.settled, awake_until), now), _PAUSED, now)


def _without_future(store: Store, schedule: Schedule, calendar: Calendar, now: datetime) -> Schedule:
    """Deletes what a clock that was ahead has recorded."""
    if schedule.paused is not None and schedule.paused > now:
        schedule = replace(schedule, paused=now)
        store.change(schedule.id, paused=now)
    if now >= schedule.settled:
        return schedule
    for range in store.forget(schedule.id, now):
        past = calendar.span(range.first - INSTANT, now)
        if past is not None:
            store.record_range(replace(range, last=past.last, ticks=past.ticks))
    store.change(schedule.id, settled=now)
    return replace(schedule, settled=now)


def _to_run(
    store: Store, schedule: Schedule, calendar: Calendar, until: datetime, now: datetime
) -> tuple[list[datetime], list[datetime]]:
    """Returns the missed ticks that run later, and the tick in time, if any. All other due ticks are missed."""
    catch_up = schedule.timing.catch_up
    waiting = sum(tick.state == "waiting" for tick in store.open_ticks(schedule.id))
    room = {"none": 0, "last": 1, "all": max(MOST - waiting, 0)}[catch_up]
    known = set(store.recorded(schedule.id, schedule.settled, until))
    latest = calendar.latest(room + 1 + len(known), schedule.settled, until)
    due = [time for time in latest if time not in known]
    in_time = [time for time in due[-1:] if now - time <= GRACE]
    missed = due[: len(due) - len(in_time)]
    if catch_up == "last" and in_time:
        return [], in_time
    return missed[max(len(missed) - room, 0) :], in_time


def _missed(schedule: Schedule) -> Fate:
    more = f"; at most {MOST:,} wait to be made up for, the latest" if schedule.timing.catch_up == "all" else ""
    return "missed", f"no scheduler was at work when it came, or the clock jumped past it{more}"


def _catch_up(store: Store, schedule: Schedule, times: list[datetime]) -> None:
    if schedule.timing.catch_up == "last":
        _supersede(store, schedule)
    store.record(Tick(Key(schedule.id, time), "catch-up", "waiting") for time in times)
    store.change(schedule.id, settled=times[-1])


def _supersede(store: Store, schedule: Schedule) -> None:
    """With `--catch-up last`, removes an earlier missed tick from the queue."""
    for tick in store.open_ticks(schedule.id):
        if tick.state == "waiting" and tick.origin == "catch-up":
            store.turn(tick.key, "waiting", "missed", reason="a later tick is made up for instead")


def _enqueue(store: Store, schedule: Schedule, calendar: Calendar, time: datetime, now: datetime) -> None:
    """Puts a tick into the queue, unless its schedule already has as many active or waiting runs as it may."""
    if (reason := _crowded(schedule, store.open_ticks(schedule.id))) is not None:
        _pass_over(store, schedule, calendar, (time - INSTANT, time), ("skipped", reason), now)
        return
    if schedule.timing.catch_up == "last":
        _supersede(store, schedule)
    store.record([Tick(Key(schedule.id, time), "tick", "waiting")])
    store.change(schedule.id, settled=time)


def _crowded(schedule: Schedule, open_ticks: list[Tick]) -> str | None:
    """Returns why a tick in time does not run; None where it may wait in the queue."""
    catch_up, most = schedule.timing.catch_up, schedule.timing.max_active
    waiting = [tick for tick in open_ticks if tick.state == "waiting"]
    if schedule.paused is not None:  # within seconds after the tick
        return _PAUSED[1]
    if catch_up == "all" and waiting:
        return f"{len(waiting):,} ticks of the schedule wait already" if len(waiting) > MOST else None
    if catch_up == "last" and any(tick.origin == "catch-up" for tick in waiting):
        return None  # it supersedes that one
    active = sum(tick.state in ACTIVE for tick in open_ticks)
    if active + len(waiting) < most:
        return None
    if not waiting:
        return f"{active} {'run is' if active == 1 else 'runs are'} still at work, and max_active is {most}"
    first = on_wall_clock(waiting[0].key.time, schedule.timing.timezone)
    return f"the tick of {first} waits for its turn, and max_active is {most}"


def _pass_over(
    store: Store, schedule: Schedule, calendar: Calendar, between: tuple[datetime, datetime], fate: Fate, now: datetime
) -> bool:
    """Records that the ticks between two moments do not run. Returns False if one step does not reach the second."""
    after, until = between
    reached = min(until, after + STEP)
    known = store.recorded(schedule.id, after, reached)
    settled = known[-1:] if reached == until else [reached]
    for end in (*known, reached + INSTANT):  # a tick that ran has its own record: a range ends before it
        span = calendar.span(after, end - INSTANT) if end - INSTANT > after else None
        if span is not None:
            range = Range(schedule.id, span.first, span.last, span.ticks, *fate, now)
            store.record_range(_merged(store, calendar, range))
            settled.append(span.last)
        after = end
    if settled:
        store.change(schedule.id, settled=max(settled))
    return reached == until


def _merged(store: Store, calendar: Calendar, new: Range) -> Range:
    """Returns a range, merged with the range before it if no tick lies between them and the reason is the same."""
    before = store.last_range(new.schedule)
    if before is None or (before.state, before.reason) != (new.state, new.reason):
        return new
    if calendar.after(before.last) != new.first:
        return new
    return replace(new, first=before.first, ticks=before.ticks + new.ticks)
