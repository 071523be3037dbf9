"""Backfills: the runs of a schedule for past dates, one after another.

The dates follow from the cron and the two days alone, so that a clock that jumps changes none of them. What became of
each is asked of the target, so that the same command goes on after a kill.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from datetime import time as clock

from elboflow.settings import RequestError
from elboflow.settings.zones import zone
from pipelines.targets import ENDED, RunState, ScheduleState, Target
from pipelines.timing import Timing
from pipelines.timing.calendar import INSTANT, MOST, Calendar
from pipelines.timing.trigger import parsed
from preprocessing import dates


def day(option: str, text: str) -> date:
    """Reads a day, or raises RequestError."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise RequestError(f"{option} {text}: expected a day, such as 2026-11-29") from None


def wanted(timing: Timing, first: date, last: date) -> list[str]:
    """Returns the dates of a schedule's ticks from one day to another, both included, on its clocks.

    Ticks before the schedule's start, or after its end, count.

    Raises:
        RequestError: The days are in the wrong order, have no tick, or more than `MOST`.
    """
    if parsed(timing.cron) is not None:
        raise RequestError(f"'{timing.cron}' is no cron: what it runs has no dates of its own")
    if last < first:
        raise RequestError(f"--to {last} is before --from {first}")
    here = zone(timing.timezone)
    begin, end = (datetime.combine(each, clock(), here) for each in (first, last + timedelta(days=1)))
    found: dict[str, None] = {}
    for tick in Calendar(replace(timing, start=None, end=None)).between(begin - INSTANT, end - INSTANT):
        found[dates.written(tick.astimezone(here).replace(tzinfo=None))] = None
        if len(found) > MOST:
            raise RequestError(f"--from {first} --to {last}: there are more than {MOST:,} ticks; choose fewer days")
    if not found:
        raise RequestError(f"--from {first} --to {last}: cron '{timing.cron}' has no tick in these days")
    return list(found)


def left(target: Target, schedule: ScheduleState, wanted: Sequence[str], again: bool) -> list[str]:
    """Returns the dates that are to run: those that have not succeeded; with `again`, all that are not at work."""
    known = target.dated_runs(schedule.id)
    return [each for each in wanted if not _is_done(known.get(each), again)]


def backfill(
    target: Target,
    schedule: ScheduleState,
    dates: Sequence[str],
    spare: Callable[[], int],
    told: Callable[[str, RunState], object],
    seconds: float,
) -> dict[str, RunState]:
    """Runs dates in their order, and returns what became of each.

    No more are at work than the schedule's `max_active` and `spare` allow.

    Args:
        spare: Returns how many more runs the machine can carry.
        told: Called when the run of a date begins, and when it has ended.
        seconds: How long to wait before the target is asked again.
    """
    known, ended = target.dated_runs(schedule.id), dict[str, RunState]()
    # What an earlier backfill, which was killed, has started.
    started = {each: known[each].id for each in dates if each in known and known[each].status not in ENDED}
    to_start = [each for each in dates if each not in started]
    while to_start or started:
        known = target.dated_runs(schedule.id)
        for each, run in list(started.items()):
            state = known.get(each)
            if state is not None and state.id != run:  # the schedule has begun another run of this date
                state = target.run(run)
            if state is not None and state.status in ENDED:
                told(each, state)
                ended[each] = state
                del started[each]
        at_work = sum(state.status not in ENDED for state in known.values())
        while to_start and at_work < schedule.timing.max_active and spare() > 0:
            each = to_start.pop(0)
            state = target.trigger(schedule.id, each)
            told(each, state)
            started[each] = state.id
            at_work += 1
        if started or to_start:
            time.sleep(seconds)
    return ended


def _is_done(state: RunState | None, again: bool) -> bool:
    return state is not None and not again and state.status in ("succeeded", "skipped")
