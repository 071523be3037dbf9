"""The next tick of a cron expression, worked out day by day: for servers that keep schedules."""

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_RANGES = ((0, 59), (0, 23), (1, 31), (1, 12))
_MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
_DAYS = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]
_YEARS = 5


class Cron:
    """A cron expression of five fields; TZ= or CRON_TZ= may precede it.

    Args:
        expression: The expression.
        sunday: The last weekday: 7 where it means Sunday, too, and 6 where only 0 does.

    Raises:
        ValueError: It is none.
    """

    def __init__(self, expression: str, sunday: int = 7) -> None:
        zoned = re.fullmatch(r"(?:CRON_)?TZ=(\S+) (.+)", expression)
        try:
            self.zone = ZoneInfo(zoned[1] if zoned else "UTC")
        except (ZoneInfoNotFoundError, ValueError):
            raise ValueError(f"provided bad location in {expression!r}") from None
        fields = (zoned[2] if zoned else expression).split()
        if len(fields) != 5:
            raise ValueError(f"expected 5 fields, found {len(fields)}: {expression!r}")
        self.minutes, self.hours, self.days, self.months, weekdays = (
            _values(field, *limits) for field, limits in zip(fields, (*_RANGES, (0, sunday)), strict=True)
        )
        self.weekdays = {day % 7 for day in weekdays}
        self.either = not (fields[2].startswith("*") or fields[4].startswith("*"))

    def after(self, moment: datetime) -> datetime | None:
        """Returns the first tick after a moment, in UTC; None where there is none in the next years."""
        day = moment.astimezone(self.zone).date()
        for _ in range(366 * _YEARS):
            if self._on(day.day, day.month, day.isoweekday() % 7):
                for hour in sorted(self.hours):
                    for minute in sorted(self.minutes):
                        local = datetime(day.year, day.month, day.day, hour, minute, tzinfo=self.zone)
                        tick = local.astimezone(UTC)
                        if tick > moment and tick.astimezone(self.zone).replace(tzinfo=None) == local.replace(
                            tzinfo=None
                        ):
                            return tick
            day += timedelta(days=1)
        return None

    def _on(self, day: int, month: int, weekday: int) -> bool:
        by_day, by_weekday = day in self.days, weekday in self.weekdays
        return month in self.months and (by_day or by_weekday if self.either else by_day and by_weekday)


def _values(field: str, low: int, high: int) -> set[int]:
    names = {**{name: number for number, name in enumerate(_MONTHS, 1)}, **{name: n for n, name in enumerate(_DAYS)}}
    found: set[int] = set()
    for part in field.upper().split(","):
        told = re.fullmatch(r"(?:([*?])|(\w+)(?:-(\w+))?)(?:/(\d+))?", part)
        if told is None:
            raise ValueError(f"failed to parse {part!r}")
        try:
            first = low if told[1] else int(names.get(told[2], told[2]))
            last = (
                high if told[1] or (told[4] and not told[3]) else int(names.get(told[3] or told[2], told[3] or told[2]))
            )
        except ValueError:
            raise ValueError(f"failed to parse {part!r}") from None
        if not low <= first <= last <= high or told[4] == "0":
            raise ValueError(f"{part!r} is outside {low} to {high}")
        found |= set(range(first, last + 1, int(told[4] or 1)))
    return found
