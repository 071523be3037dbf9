"""Logical dates: `{date}` in the location of a source stands for the date of a run.

    path: gs://bucket/faces/{date}/*.jpg                  2026-11-29
    path: /data/{date:%Y/%m/%d}/examples.csv              2026/11/29, or another format of strftime

Refused are `%s`, `%z` and `%Z`, as a date has no timezone, `%n` and `%t`, and the forms with `E` and `O`.

A date may have a time, for schedules that tick several times a day. It is a date of the schedule's clocks.
"""

import re
from datetime import date, datetime, time
from zoneinfo import ZoneInfo

from elboflow.settings import RequestError

_FIELD = re.compile(r"\{date(?::([^{}]+))?\}")
_DIRECTIVE = re.compile("%-?(.?)")
_DATES, _TIMES, _ZONED = "aAbBCdeDFgGhjmuUVwWxyY%", "cfHIklMpPrRSTX", "szZ"
EXAMPLES = "{date} or {date:%Y/%m/%d}"


def check(text: str) -> None:
    """Checks the fields `{date…}` of a text.

    Raises:
        ValueError: One is malformed. The message says what is allowed.
    """
    for field in _FIELD.finditer(text):
        for directive in _DIRECTIVE.finditer(field[1] or ""):
            if (reason := _refusal(directive[1])) is not None:
                raise ValueError(f"{field[0]}: {directive[0]} {reason}; write {EXAMPLES}")
        if field[1] is not None and "%" not in field[1]:
            raise ValueError(f"{field[0]}: names no part of the date, such as %Y; write {EXAMPLES}")
    if "{date" in _FIELD.sub("", text):
        raise ValueError(f"{text}: the field {{date is malformed; write {EXAMPLES}")


def _refusal(letter: str) -> str | None:
    """Returns why a letter after `%` is refused; None where it is allowed."""
    if not letter:
        return "is cut off"
    if letter in _ZONED:
        return "needs a timezone, which a date has not"
    return None if letter in _DATES + _TIMES else "is no format of a date or a time"


def is_dated(text: str) -> bool:
    """Returns whether a text has a field `{date…}`."""
    return _FIELD.search(text) is not None


def has_time(text: str) -> bool:
    """Returns whether a field of a text shows a time of the day."""
    found = [directive[1] for field in _FIELD.finditer(text) for directive in _DIRECTIVE.finditer(field[1] or "")]
    return any(directive in _TIMES for directive in found)


def at(text: str, moment: datetime) -> str:
    """Returns a text with its fields replaced by a date."""
    return _FIELD.sub(lambda field: moment.strftime(field[1] or "%Y-%m-%d"), text)


def read(text: str, name: str = "date") -> datetime:
    """Reads a date, or a date with a time, in ISO 8601.

    Raises:
        RequestError: It is neither, or has an offset.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is not None:
        raise RequestError(f"{name} {text}: expected a date, such as 2026-11-29 or 2026-11-29T06:00")
    return moment


def written(moment: datetime | date) -> str:
    """Returns a date as `read` takes it; midnight is left out."""
    if isinstance(moment, datetime) and moment.time() != time():
        return moment.replace(tzinfo=None).isoformat(timespec="minutes")
    return f"{moment:%Y-%m-%d}"


def scheduled(date: str, placeholder: str, timezone: str, now: datetime) -> datetime:
    """Returns the date of a run on a platform.

    Args:
        date: The one that was asked for; empty for the schedule's.
        placeholder: What the platform puts in the place of its placeholder: the time that the run was scheduled for,
            in UTC. Vertex AI says 1970 for a run without a schedule.
        timezone: Whose date it is.
        now: The time, for a run without a schedule.

    Raises:
        RequestError: The platform did not replace its placeholder.
    """
    if date:
        return read(date)
    try:
        moment = datetime.fromisoformat(placeholder)
    except ValueError:
        raise RequestError(
            f"the platform did not say for which time this run was scheduled ({placeholder}), which Kubeflow Pipelines "
            "2.17 and newer do; give the date of a run with --date"
        ) from None
    return (now if moment.year == 1970 else moment).astimezone(ZoneInfo(timezone)).replace(tzinfo=None)
