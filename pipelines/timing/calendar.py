"""When a schedule ticks: the moments, in UTC, at which the wall clock of its timezone shows what its cron says.

Nights of a clock change follow Debian's cron, by cronsim:
- Minutes or hours that begin with `*` follow real time: `0 * * * *` ticks in every hour that passes.
- Other times tick once. One that the clock skips (02:30 in March) ticks when the clock has moved on, at 03:00; one that
  it shows twice (02:30 in October) ticks the first time. Several skipped times make one tick.
- A list of all hours, such as `0-23`, is a list of times and not `*`: it ticks once at each hour that the clock shows.
- cronsim 2.8 steps by whole hours: where the clock changes by half an hour (Lord Howe Island), `*` minutes of given
  hours, or any time taken literally, can miss the first midnight after the change.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from itertools import islice

from elboflow.settings import RequestError
from elboflow.settings.zones import zone
from pipelines.timing import Timing, cron
from pipelines.timing.trigger import parsed

MOST = 1000
"""Missed ticks of a schedule that run later, at most: more are rather a mistake in its start, or in the clock."""

INSTANT = timedelta(microseconds=1)

_YEARS = range(1970, 9990)
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Span:
    """Consecutive ticks: the first, the last, and their number."""

    first: datetime
    last: datetime
    ticks: int


class Calendar:
    """The ticks of a timing.

    Args:
        literally: Whether a time ticks exactly as often as the wall clock shows it: never where the clock skips it,
            twice where it shows it twice. Kubeflow's controller ticks so.

    Raises:
        RequestError: The cron or the timezone is not understood.
    """

    def __init__(self, timing: Timing, literally: bool = False) -> None:
        cron.check(timing.cron)
        self.timing, self.zone, self._literally = timing, zone(timing.timezone), literally
        self._cron = cron.simulated(timing.cron, datetime.now(UTC), self.zone)

    def after(self, moment: datetime) -> datetime | None:
        """Returns the first tick after a moment, or None if there is none."""
        return next(self._from(moment), None)

    def between(self, after: datetime, until: datetime) -> Iterator[datetime]:
        """Yields the ticks later than `after`, up to and with `until`."""
        for tick in self._from(after):
            if tick > until:
                return
            yield tick

    def latest(self, most: int, after: datetime, until: datetime) -> list[datetime]:
        """Returns the latest ticks of those that `between` yields, the oldest first."""
        window = timedelta(hours=1)
        while until - after > window:
            found = list(self.between(until - window, until))
            if len(found) >= most:
                return found[-most:]
            window *= 4
        return list(self.between(after, until))[-most:]

    def span(self, after: datetime, until: datetime) -> Span | None:
        """Returns what `between` yields as a span; None where that is nothing.

        A day takes microseconds, however many ticks it has: only days near a clock change are counted tick by tick.
        """
        if (first := self.after(after)) is None or first > until:
            return None
        until = until if self.timing.end is None else min(until, self.timing.end)
        day = first.astimezone(self.zone).date() + _DAY
        begin, ticks = first - INSTANT, 0
        while (end := self._midnight(day).astimezone(UTC) - INSTANT) < until:
            is_whole_day = begin >= first
            ticks += (
                self._of_plain_day(day - _DAY)
                if is_whole_day and self._is_plain(day - _DAY)
                else self._count(begin, end)
            )
            begin, day = end, day + _DAY
        ticks += self._count(begin, until)
        return Span(first, self.latest(1, first - INSTANT, until)[-1], ticks)

    def _from(self, after: datetime) -> Iterator[datetime]:
        start, end = self.timing.start, self.timing.end
        last = after.astimezone(UTC) if start is None else max(after, start - INSTANT).astimezone(UTC)
        for local in cron.simulated(self.timing.cron, last, self.zone, self._literally):
            tick = local.astimezone(UTC)
            if end is not None and tick > end:
                return
            if tick > last:  # in the hour that the clock shows again, cronsim begins with the first of the two
                yield tick

    def _count(self, after: datetime, until: datetime) -> int:
        return sum(1 for _ in self.between(after, until))

    def _is_plain(self, day: date) -> bool:
        """Returns whether the clock changes neither on a day nor on the one before it, whose ticks may come late."""
        offsets = {self._midnight(day + days * _DAY).utcoffset() for days in (-1, 0, 1)}
        return len(offsets) == 1

    def _of_plain_day(self, day: date) -> int:
        matches = day.month in self._cron.months and self._cron.match_day(day)
        return len(self._cron.hours) * len(self._cron.minutes) if matches else 0

    def _midnight(self, day: date) -> datetime:
        return datetime.combine(day, time(), self.zone)


def moment(option: str, text: str, timezone: str) -> datetime:
    """Reads a moment in ISO 8601 and returns it in UTC; without an offset it is meant in the timezone.

    Raises:
        RequestError: It is malformed, or out of range.
    """
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        raise RequestError(
            f"{option} {text}: expected a date or a time, such as 2026-12-01 or 2026-12-01T06:00"
        ) from None
    if read.year not in _YEARS:
        raise RequestError(f"{option} {text}: expected a year from {_YEARS[0]} to {_YEARS[-1]}")
    return (read if read.tzinfo else read.replace(tzinfo=zone(timezone))).astimezone(UTC)


def on_wall_clock(moment: datetime, timezone: str) -> str:
    """Returns a moment as people of a timezone read it, with the zone's name; in UTC where the timezone is unknown."""
    try:
        here: tzinfo = zone(timezone)
    except RequestError:
        here = UTC
    return f"{moment.astimezone(here):%Y-%m-%d %H:%M %Z}"


def to_catch_up(timing: Timing, now: datetime) -> int:
    """Returns how many ticks between a start in the past and now will run, where a schedule is created now.

    Raises:
        RequestError: There are more than `MOST`.
    """
    if timing.catch_up == "none" or timing.start is None:
        return 0
    missed = len(list(islice(Calendar(timing).between(timing.start - INSTANT, now), MOST + 1)))
    if missed > MOST and timing.catch_up == "all":
        raise RequestError(
            f"--catch-up all: there are more than {MOST:,} ticks since --start {_shown(timing.start)}, and each would "
            "run; choose --catch-up last, or a later --start"
        )
    return missed if timing.catch_up == "all" else min(missed, 1)


def check(timing: Timing, now: datetime | None = None) -> None:
    """Checks that a timing makes sense now: there will be a tick.

    Raises:
        RequestError: It is malformed, ends before it starts, or never ticks.
    """
    if parsed(timing.cron) is not None:
        if timing.start or timing.end or timing.catch_up != "none":
            raise RequestError(
                f"'{timing.cron}': start, end and catch_up are of a cron, and mean nothing for a trigger"
            )
        return
    now = now or datetime.now(UTC)
    calendar = Calendar(timing)
    if timing.start and timing.end and timing.end <= timing.start:
        raise RequestError(f"--end {_shown(timing.end)} is not after --start {_shown(timing.start)}")
    if timing.end and timing.end <= now:
        raise RequestError(f"--end {_shown(timing.end)} has passed already")
    if timing.max_active < 1:
        raise RequestError(f"--max-active {timing.max_active}: expected 1 or more")
    to_catch_up(timing, now)
    if calendar.after(now) is None:
        within = f" from {_shown(max(now, timing.start or now))} to {_shown(timing.end)}" if timing.end else ""
        raise RequestError(f"cron '{timing.cron}': there is no such day and time{within}")


def _shown(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="minutes")
