"""Flaws of when a schedule runs."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

from pipelines.experiment.kubeflow import KubeflowTarget
from pipelines.rehearsal import Flaw
from pipelines.rehearsal.look import STEPS, Look
from pipelines.timing.calendar import Calendar, on_wall_clock

_YEAR = timedelta(days=366)


def clock(look: Look) -> Iterator[Flaw]:
    if not look.timing.cron.split()[1].isdecimal():
        return  # the hours that pass, or several times a day: none of them is a night
    zone, until = ZoneInfo(look.timing.timezone), look.now + _YEAR
    shown: set[datetime] = set()
    for tick in Calendar(look.timing, literally=True).between(look.now, until):
        local = tick.astimezone(zone).replace(tzinfo=None, fold=0)
        if local in shown:
            yield Flaw("clock-twice", "schedule.cron", f"the clock shows {local:%H:%M} twice on {local:%Y-%m-%d}",
                       f"the night of {local:%Y-%m-%d} runs twice", _outside(look))  # fmt: skip
        shown.add(local)
    meant = {tick.astimezone(zone).date() for tick in Calendar(look.timing).between(look.now, until)}
    for day in sorted(meant - {local.date() for local in shown}):
        yield Flaw("clock-skips", "schedule.cron", f"the clock skips this time on {day}",
                   f"the night of {day} does not run", _outside(look))  # fmt: skip


def _outside(look: Look) -> str:
    return f"choose an hour in which no clock of {look.timing.timezone} changes, such as 4, or the timezone UTC"


def zone(look: Look) -> Iterator[Flaw]:
    meant = look.inventory.timezone
    if meant is not None and meant != look.timing.timezone:
        first = Calendar(look.timing).after(look.now)
        shown = "" if first is None else f": the first at {on_wall_clock(first, meant)}"
        yield Flaw("zone", "schedule.timezone", f"{look.timing.timezone}, and the times are meant in {meant}",
                   f"every night runs at another hour{shown}", f"timezone: {meant}")  # fmt: skip

    if isinstance(look.target, KubeflowTarget) and look.target.timezone != look.timing.timezone:
        yield Flaw("zone", "schedule.timezone",
                   f"{look.timing.timezone}, and all schedules of the cluster are in {look.target.timezone}",
                   "Kubeflow would run every night at another hour: the schedule is refused",
                   f"timezone: {look.target.timezone}, or change the controller's")  # fmt: skip


def overlaps(look: Look) -> Iterator[Flaw]:
    """Steps follow each other: a night takes as long as all of them, each with all its tries."""
    longest = {
        step: timeout * (look.step(step).retry.attempts + 1)
        for step in STEPS
        if (timeout := look.step(step).timeout_minutes) is not None
    }
    interval, whole = _shortest(look), sum(longest.values())
    too_long = [step for step, minutes in longest.items() if interval is not None and minutes > interval]
    for step in too_long:
        yield Flaw("overlap", look.key("steps", step, "timeout_minutes"),
                   f"with its tries it may take {longest[step]:,} min, and the next run comes after {interval:,.0f}",
                   f"a night in which {step} hangs keeps the next from running (--max-active)",
                   "a shorter timeout, or fewer tries")  # fmt: skip
    if interval is not None and whole > interval and not too_long:
        yield Flaw("overlap", look.key("steps"),
                   f"one after another, with their tries, {', '.join(longest)} may take {whole:,} min, and the next "
                   f"run comes after {interval:,.0f}",
                   "a night in which they hang keeps the next from running (--max-active)",
                   "shorter timeouts, or fewer tries")  # fmt: skip
    deadline = look.experiment.schedule and look.experiment.schedule.deadline_minutes
    if deadline is not None:
        yield Flaw("deadline", "schedule.deadline_minutes", f"{deadline} min, of which {look.name} knows nothing",
                   "the schedule is refused", "leave it out, and give the steps timeout_minutes")  # fmt: skip


def _shortest(look: Look) -> float | None:
    """Returns the shortest time between two of the next thousand ticks of a year, in minutes, without clock changes."""
    ticks = islice(Calendar(replace(look.timing, timezone="UTC")).between(look.now, look.now + _YEAR), 1000)
    pauses = [(later - sooner).total_seconds() / 60 for sooner, later in pairwise(ticks)]
    return min(pauses, default=None)
