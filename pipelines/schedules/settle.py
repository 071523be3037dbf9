"""Settling: every tick that is due gets its one record, which says what is to become of it.

A tick that is to run has a record to itself, and stands in line for a place. Ticks that do not run, and follow each
other for the same reason, share one: a machine that was off for a year missed half a million ticks of `* * * * *`.

Each step is one transaction of bounded length: it does not matter who settles, how often, or where it was killed.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from pipelines.schedules.calendar import MOST, Calendar
from pipelines.schedules.states import AT_WORK, Key, NeverRan, Range, Schedule, Tick
from pipelines.schedules.store import Store

GRACE = timedelta(minutes=5)
"""How late the latest tick still counts as in time: a machine may be busy, a daemon be started anew."""

STEP = timedelta(days=1000)
"""The time of which one transaction records the ticks, at most: a tenth of a second of work."""

Fate = tuple[NeverRan, str]
"""What becomes of ticks that do not run, and why."""

_PAUSED: Fate = ("skipped", "the schedule was paused")
_INSTANT = timedelta(microseconds=1)


def settle(store: Store, id: str, now: datetime) -> bool:
    """Records ticks of a schedule that are due, and returns whether that was all; else the next call goes on.

    A clock that was ahead and is put right leaves records of moments that have not come: they are forgotten and come
    again, but for those of ticks that ran, which keep theirs.
    """
    with store.transaction():
        schedule = store.schedule(id)
        if schedule is None or schedule.deleted is not None:
            return True
        calendar = Calendar(schedule.timing)
        schedule = _put_right(store, schedule, calendar, now)
        awake_until = schedule.paused or now
        made_up, in_time = _due(store, schedule, calendar, awake_until, now)
        kept = [*made_up, *in_time]
        missed_until = kept[0] - _INSTANT if kept else awake_until
        if not _pass_over(store, schedule, calendar, (schedule.settled, missed_until), _missed(schedule), now):
            return False
        if made_up:
            _make_up(store, schedule, made_up)
        for time in in_time:
            _record(store, schedule, calendar, time, now)
        return _pass_over(store, schedule, calendar, (max(schedule.settled, awake_until), now), _PAUSED, now)


def _put_right(store: Store, schedule: Schedule, calendar: Calendar, now: datetime) -> Schedule:
    """Takes back what a clock that was ahead has recorded."""
    if schedule.paused is not None and schedule.paused > now:
        schedule = replace(schedule, paused=now)
        store.change(schedule.id, paused=now)
    if now >= schedule.settled:
        return schedule
    for range in store.forget(schedule.id, now):
        past = calendar.span(range.first - _INSTANT, now)
        if past is not None:
            store.record_range(replace(range, last=past.last, ticks=past.ticks))
    store.change(schedule.id, settled=now)
    return replace(schedule, settled=now)


def _due(
    store: Store, schedule: Schedule, calendar: Calendar, until: datetime, now: datetime
) -> tuple[list[datetime], list[datetime]]:
    """Returns the missed ticks that are made up for, and the one, if any, that is in time. All others are missed."""
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


def _make_up(store: Store, schedule: Schedule, times: list[datetime]) -> None:
    if schedule.timing.catch_up == "last":
        _supersede(store, schedule)
    store.record(Tick(Key(schedule.id, time), "catch-up", "waiting") for time in times)
    store.change(schedule.id, settled=times[-1])


def _supersede(store: Store, schedule: Schedule) -> None:
    """Where only the last of the missed ticks is made up for, it is no longer the one that has been waiting."""
    for tick in store.open_ticks(schedule.id):
        if tick.state == "waiting" and tick.origin == "catch-up":
            store.turn(tick.key, "waiting", "missed", reason="a later tick is made up for instead")


def _record(store: Store, schedule: Schedule, calendar: Calendar, time: datetime, now: datetime) -> None:
    """Puts a tick in line, unless as many of its schedule as may be at work are, or are in line before it."""
    if (reason := _crowded(schedule, store.open_ticks(schedule.id))) is not None:
        _pass_over(store, schedule, calendar, (time - _INSTANT, time), ("skipped", reason), now)
        return
    if schedule.timing.catch_up == "last":
        _supersede(store, schedule)
    store.record([Tick(Key(schedule.id, time), "tick", "waiting")])
    store.change(schedule.id, settled=time)


def _crowded(schedule: Schedule, open_ticks: list[Tick]) -> str | None:
    """Returns why a tick in time is not to run; None where it may stand in line."""
    catch_up, most = schedule.timing.catch_up, schedule.timing.max_active
    waiting = [tick for tick in open_ticks if tick.state == "waiting"]
    if schedule.paused is not None:
        return _PAUSED[1]  # by a person who saw it come, or nearly so
    if catch_up == "all" and waiting:
        return f"{len(waiting):,} ticks of the schedule wait already" if len(waiting) > MOST else None
    if catch_up == "last" and any(tick.origin == "catch-up" for tick in waiting):
        return None  # in whose place it waits
    at_work = sum(tick.state in AT_WORK for tick in open_ticks)
    if at_work + len(waiting) < most:
        return None
    if not waiting:
        return f"{at_work} {'run is' if at_work == 1 else 'runs are'} still at work, and max_active is {most}"
    return f"the tick of {waiting[0].key.time:%Y-%m-%d %H:%M} UTC waits for its turn, and max_active is {most}"


def _pass_over(
    store: Store,
    schedule: Schedule,
    calendar: Calendar,
    between: tuple[datetime, datetime],
    fate: Fate,
    now: datetime,
) -> bool:
    """Records that the ticks between two moments do not run, and returns whether that was all of them."""
    after, until = between
    reached = min(until, after + STEP)
    known = store.recorded(schedule.id, after, reached)
    settled = known[-1:] if reached == until else [reached]
    for end in (*known, reached + _INSTANT):  # a tick that ran has its own record: a range ends before it
        span = calendar.span(after, end - _INSTANT) if end - _INSTANT > after else None
        if span is not None:
            store.record_range(
                _continued(store, calendar, Range(schedule.id, span.first, span.last, span.ticks, *fate, now))
            )
            settled.append(span.last)
        after = end
    if settled:
        store.change(schedule.id, settled=max(settled))
    return reached == until


def _continued(store: Store, calendar: Calendar, new: Range) -> Range:
    """Returns a range, merged with the one before it if no tick lies between them and the reason is the same."""
    before = store.last_range(new.schedule)
    if before is None or (before.state, before.reason) != (new.state, new.reason):
        return new
    if calendar.after(before.last) != new.first:
        return new
    return replace(new, first=before.first, ticks=before.ticks + new.ticks)
