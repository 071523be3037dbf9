"""The five fields of cron as Debian's crontab(5) reads them, by cronsim; what it refuses is explained field by field.

cronsim knows more than crontab(5), such as `L`, `MON#2`, `5/10` and seconds. Platforms do not, so these are refused.
"""

import re
from datetime import UTC, datetime, tzinfo

from cronsim import CronSim, CronSimError

from elboflow.settings import RequestError
from elboflow.settings.text import counted

_WILD = ["*"] * 5
_WITH = "and with these *, lists, ranges such as 1-5, and steps such as */2 or 1-5/2"
_ALLOWED = {
    "minute": "0 to 59",
    "hour": "0 to 23",
    "day of month": "1 to 31",
    "month": "1 to 12, or jan, feb, mar, apr, may, jun, jul, aug, sep, oct, nov, dec",
    "day of week": "0 to 7, or sun, mon, tue, wed, thu, fri, sat",
}
_FIVE = f": {', '.join(_ALLOWED)}, such as '0 2 * * *'"
_MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_VALUE = "(?:[0-9]{1,2}|[a-z]{3})"
_PART = re.compile(rf"(?:\*|{_VALUE}-{_VALUE})(?:/[0-9]{{1,3}})?|{_VALUE}", re.IGNORECASE)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def check(text: str) -> None:
    """Checks five fields.

    Raises:
        RequestError: They are not five, one of them is malformed, or no day has them. The message names the field, its
            value and what is allowed.
    """
    place = f"cron '{text}'"
    if text.strip().startswith("@"):
        meant = _MACROS.get(text.strip().lower())
        raise RequestError(f"{place}: expected five fields" + (f"; write '{meant}'" if meant else _FIVE))
    fields = text.split()
    if len(fields) != len(_ALLOWED):
        raise RequestError(f"{place}: it has {counted(len(fields), 'field')}, expected five{_FIVE}")
    for number, (name, field) in enumerate(zip(_ALLOWED, fields, strict=True)):
        for part in field.split(","):
            if not _PART.fullmatch(part) or _refused([*_WILD[:number], part, *_WILD[number + 1 :]]):
                raise RequestError(f"{place}: {name} '{part}'; allowed: {_ALLOWED[name]}, {_WITH}")
    if _refused(fields):  # each field alone is fine
        raise RequestError(f"{place}: there is no such day and time")


def simulated(text: str, after: datetime, zone: tzinfo, literally: bool = False) -> CronSim:
    """Returns the ticks after a moment, by an iterator that also knows the values of the checked fields.

    Literally, a time ticks as often as the wall clock shows it, also in nights of a clock change: cronsim does this for
    six fields, of which the first is seconds.
    """
    return CronSim(f"0 {text}" if literally else text, after.astimezone(zone))


def portable(text: str) -> str:
    """Returns fields that mean the same to platforms, for which Sunday is 0 and never 7.

    A day has to match both of its fields where one begins with `*`; to some platforms, also where `*` comes later in a
    list. There it is replaced by its values.

    Raises:
        RequestError: As `check`.
    """
    check(text)
    minute, hour, days, months, weekdays = text.split()

    def values(part: str, is_weekday: bool) -> str:
        cron = CronSim(f"0 0 * * {part}" if is_weekday else f"0 0 {part} * *", _EPOCH)
        found = {int(str(value)) % 7 for value in cron.weekdays} if is_weekday else cron.days
        return ",".join(map(str, sorted(found)))

    def rewritten(field: str, is_weekday: bool) -> str:
        def is_portable(part: str) -> bool:
            return field.startswith("*") if part.startswith("*") else not (is_weekday and "7" in part)

        return ",".join(part if is_portable(part) else values(part, is_weekday) for part in field.split(","))

    return " ".join([minute, hour, rewritten(days, False), months, rewritten(weekdays, True)])


def _refused(fields: list[str]) -> bool:
    try:
        CronSim(" ".join(fields), _EPOCH)
    except CronSimError:
        return True
    return False
