"""The five fields of cron, read as crontab(5) reads them: 0 and 7 are Sunday, and a day matches by its day of the month
or by its weekday where both are restricted."""

from dataclasses import dataclass
from datetime import date

from elboflow.settings import RequestError
from elboflow.settings.text import counted

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}


@dataclass(frozen=True)
class _Field:
    name: str
    low: int
    high: int
    names: dict[str, int]


_FIELDS = (
    _Field("minute", 0, 59, {}),
    _Field("hour", 0, 23, {}),
    _Field("day of month", 1, 31, {}),
    _Field("month", 1, 12, {name: number for number, name in enumerate(_MONTHS, 1)}),
    _Field("day of week", 0, 7, {name: number for number, name in enumerate(_WEEKDAYS)}),
)


@dataclass(frozen=True)
class Cron:
    """What the five fields allow.

    Attributes:
        minutes: Of the hour.
        hours: Of the day.
        days: Of the month.
        months: 1 is January.
        weekdays: 0 is Sunday.
        either_day: A day matches by `days` or by `weekdays`, not only by both.
        every_hour: All hours of the day are among `hours`.
    """

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either_day: bool
    every_hour: bool

    def on(self, day: date) -> bool:
        """Returns whether there are ticks on a day."""
        if day.month not in self.months:
            return False
        by_day, by_weekday = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return by_day or by_weekday if self.either_day else by_day and by_weekday


def parse(text: str) -> Cron:
    """Reads five fields.

    Raises:
        RequestError: They are not five, or one of them is not understood. The message names it and what is allowed.
    """
    place = f"cron '{text}'"
    if text.strip().startswith("@"):
        meant = _MACROS.get(text.strip().lower())
        raise RequestError(f"{place}: expected five fields" + (f"; write '{meant}'" if meant else _FIVE))
    fields = text.lower().split()
    if len(fields) != len(_FIELDS):
        raise RequestError(f"{place}: it has {counted(len(fields), 'field')}, expected five{_FIVE}")
    values = [_values(place, field, written) for field, written in zip(_FIELDS, fields, strict=True)]
    minutes, hours, days, months, weekdays = values
    return Cron(
        minutes=tuple(sorted(minutes)),
        hours=tuple(sorted(hours)),
        days=frozenset(days),
        months=frozenset(months),
        weekdays=frozenset(weekday % 7 for weekday in weekdays),
        either_day=not fields[2].startswith("*") and not fields[4].startswith("*"),
        every_hour=len(hours) == 24,
    )


def portable(text: str) -> str:
    """Returns fields that mean the same to platforms, for which Sunday is 0 and never 7.

    To platforms, too, a day has to match both of its fields where one is `*` or `*/N`; to some, wherever in a list that
    stands. Where it is not the first, it is written out.

    Raises:
        RequestError: As `parse`.
    """
    parse(text)
    fields = text.split()
    for place in (2, 4):
        parts = fields[place].split(",")
        starred = parts[0].startswith("*")
        fields[place] = ",".join(_portable(_FIELDS[place], part, starred) for part in parts)
    return " ".join(fields)


def _portable(field: _Field, part: str, starred: bool) -> str:
    if starred if part.startswith("*") else "7" not in part or field.name != "day of week":
        return part
    values = _values("", field, part.lower())
    return ",".join(map(str, sorted({value % 7 for value in values} if field.name == "day of week" else values)))


_FIVE = ": minute, hour, day of month, month, day of week, such as '0 2 * * *'"


def _values(place: str, field: _Field, written: str) -> set[int]:
    values: set[int] = set()
    for part in written.split(","):
        span, slash, step = part.partition("/")
        if slash and not (step.isdecimal() and int(step)):
            raise RequestError(f"{place}: {field.name} '{part}': the step after / is a whole number, 1 or more")
        if span == "*":
            low, high = field.low, min(field.high, 6) if field.name == "day of week" else field.high
        else:
            first, dash, last = span.partition("-")
            if slash and not dash:
                raise RequestError(f"{place}: {field.name} '{part}': a step needs a range, such as */5 or 0-30/5")
            low = _number(place, field, first)
            high = _number(place, field, last) if dash else low
            if low > high:
                raise RequestError(f"{place}: {field.name} '{part}': the range ends before it begins")
        values.update(range(low, high + 1, int(step) if slash else 1))
    return values


def _number(place: str, field: _Field, written: str) -> int:
    number = field.names.get(written, int(written) if written.isascii() and written.isdecimal() else None)
    if number is None or not field.low <= number <= field.high:
        names = f", or {', '.join(field.names)}" if field.names else ""
        allowed = f"{field.low} to {field.high}{names}, and with these *, lists, ranges and steps such as */2"
        raise RequestError(f"{place}: {field.name} '{written}'; allowed: {allowed}")
    return number
