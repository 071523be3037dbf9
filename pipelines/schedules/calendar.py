"""When a schedule ticks: the moments, in UTC, at which a clock on the wall shows what its cron says.

Where the wall's clock is put forward, a time that it does not show comes as long after midnight as it otherwise would
(02:30 becomes 03:30); where it is put back, a time that it shows twice comes the first time. There is one tick in both.
Ticks of every hour follow real time instead: each hour that passes has them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import islice

from elboflow.settings import RequestError
from elboflow.settings.zones import zone
from pipelines.schedules import cron
from pipelines.targets import Timing

_SEARCHED = timedelta(days=366 * 9)  # 29 February is eight years from the next, across a century
_LAST_DAY = date(9990, 1, 1)

MOST = 1000
"""Ticks of a schedule that are made up for at most: more are rather a mistake in its start, or in the clock."""

_INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True)
class Span:
    """Ticks of a calendar that follow each other: the first, the last, and how many."""

    first: datetime
    last: datetime
    ticks: int


class Calendar:
    """The ticks of a timing.

    Args:
        timing: The timing.
        literally: Whether a time that the wall's clock does not show does not come, and one that it shows twice comes
            twice, as some platforms have it.

    Raises:
        RequestError: The cron or the timezone is not understood.
    """

    def __init__(self, timing: Timing, literally: bool = False) -> None:
        self.timing, self._literally = timing, literally
        self.cron = cron.parse(timing.cron)
        self.zone = zone(timing.timezone)
        self._on = lru_cache(maxsize=8)(self._moments)

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
        window = timedelta(days=1)
        while until - after > window:
            found = list(self.between(until - window, until))
            if len(found) >= most:
                return found[-most:]
            window *= 2
        return list(self.between(after, until))[-most:]

    def span(self, after: datetime, until: datetime) -> Span | None:
        """Returns what `between` yields as a span; None where that is nothing.

        A day takes microseconds, however many ticks it has, unless clocks are put forward or back around it.
        """
        if (first := self.after(after)) is None or first > until:
            return None
        until = until if self.timing.end is None else min(until, self.timing.end.astimezone(UTC))
        ticks, counted = 0, after  # up to `counted`, all are among `ticks`
        for day, begin, end in self._plain_days(first, until):
            ticks += sum(1 for _ in self.between(counted, begin - _INSTANT)) if begin - _INSTANT > counted else 0
            ticks += len(self.cron.hours) * len(self.cron.minutes) if self.cron.on(day) else 0
            counted = end - _INSTANT
        ticks += sum(1 for _ in self.between(counted, until))
        return Span(first, self.latest(1, first - _INSTANT, until)[-1], ticks)

    def _plain_days(self, after: datetime, until: datetime) -> Iterator[tuple[date, datetime, datetime]]:
        """Yields the days between two moments with their beginning and end, but not those near a change of the clocks.

        Their ticks are those of the cron, and none comes over from the day before or goes over to the day after.
        """
        day = after.astimezone(self.zone).date() + timedelta(days=1)
        midnights = [self._midnight(day + timedelta(days=days)) for days in (-1, 0, 1, 2)]
        while (end := midnights[2].astimezone(UTC)) <= until:
            if len({midnight.utcoffset() for midnight in midnights}) == 1:
                yield day, midnights[1].astimezone(UTC), end
            day += timedelta(days=1)
            midnights = [*midnights[1:], self._midnight(day + timedelta(days=2))]

    def _midnight(self, day: date) -> datetime:
        return datetime.combine(day, time(), self.zone)

    def _from(self, after: datetime) -> Iterator[datetime]:
        start, end = self.timing.start, self.timing.end
        last = after if start is None else max(after, start.astimezone(UTC) - _INSTANT)
        day = last.astimezone(self.zone).date() - timedelta(days=1)  # one that the zone left out comes on the next
        searched = day + _SEARCHED if day + _SEARCHED < _LAST_DAY else _LAST_DAY
        while day < searched:
            for tick in self._on(day):
                if end is not None and tick > end:
                    return
                if tick > last:
                    last, searched = tick, min(day + _SEARCHED, _LAST_DAY)
                    yield tick
            day += timedelta(days=1)

    def _moments(self, day: date) -> list[datetime]:
        if not self.cron.on(day):
            return []
        times = [time(hour, minute) for hour in self.cron.hours for minute in self.cron.minutes]
        midnight = self._midnight(day)
        if midnight.utcoffset() == (midnight + timedelta(days=1)).utcoffset():  # no clock is put on this day
            begin = midnight.astimezone(UTC)
            return [begin + timedelta(hours=at.hour, minutes=at.minute) for at in times]
        moments = set()
        for wanted in (datetime.combine(day, at, self.zone) for at in times):
            once, again = wanted.astimezone(UTC), wanted.replace(fold=1).astimezone(UTC)
            if not self._literally or self._shows(once, wanted):
                moments.add(once)
            if (self._literally or self.cron.every_hour) and self._shows(again, wanted):
                moments.add(again)
        return sorted(moments)

    def _shows(self, moment: datetime, wanted: datetime) -> bool:
        """Returns whether the wall's clock shows a time at a moment."""
        return moment.astimezone(self.zone).replace(tzinfo=None) == wanted.replace(tzinfo=None)


def moment(option: str, text: str, timezone: str) -> datetime:
    """Reads a moment as ISO 8601 has it, in UTC; without an offset it is meant in the timezone.

    Raises:
        RequestError: It is none.
    """
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        raise RequestError(
            f"{option} {text}: expected a date or a time, such as 2026-12-01 or 2026-12-01T06:00"
        ) from None
    if not 1970 <= read.year < _LAST_DAY.year:
        raise RequestError(f"{option} {text}: expected a year from 1970 to {_LAST_DAY.year - 1}")
    return (read if read.tzinfo else read.replace(tzinfo=zone(timezone))).astimezone(UTC)


def made_up_for(timing: Timing, now: datetime) -> int:
    """Returns how many ticks before now there are to make up for, where a schedule is made whose start has passed.

    Raises:
        RequestError: There are more than `MOST`.
    """
    if timing.catch_up == "none" or timing.start is None:
        return 0
    missed = len(list(islice(Calendar(timing).between(timing.start - _INSTANT, now), MOST + 1)))
    if missed > MOST and timing.catch_up == "all":
        raise RequestError(
            f"--catch-up all: there are more than {MOST:,} ticks since --start {_shown(timing.start)}, and each would "
            "run; choose --catch-up last, or a later --start"
        )
    return missed if timing.catch_up == "all" else min(missed, 1)


def check(timing: Timing, now: datetime | None = None) -> Calendar:
    """Returns the calendar of a timing that makes sense now: something is going to tick.

    Raises:
        RequestError: It is malformed, ends before it starts, or never ticks.
    """
    now = now or datetime.now(UTC)
    calendar = Calendar(timing)
    if timing.start and timing.end and timing.end <= timing.start:
        raise RequestError(f"--end {_shown(timing.end)} is not after --start {_shown(timing.start)}")
    if timing.end and timing.end <= now:
        raise RequestError(f"--end {_shown(timing.end)} has passed already")
    if timing.max_active < 1:
        raise RequestError(f"--max-active {timing.max_active}: expected 1 or more")
    made_up_for(timing, now)
    if calendar.after(now) is None:
        within = f" from {_shown(max(now, timing.start or now))} to {_shown(timing.end)}" if timing.end else ""
        raise RequestError(f"cron '{timing.cron}': there is no such day and time{within}")
    return calendar


def _shown(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="minutes")
