"""Rows of `schedules.db` as values, and values as rows. A row that makes no sense is a `DamagedRowError`."""

import json
from collections.abc import Callable
from dataclasses import astuple
from datetime import UTC, datetime
from sqlite3 import Row
from typing import Any, get_args

from pipelines.schedules.states import Key, NeverRan, Origin, Range, Schedule, State, Tick
from pipelines.timing import CatchUp, Timing

_YEARS = range(1970, 9991)


class DamagedRowError(ValueError):
    """A row holds what no version of ELBOflow writes. The text names the column and its value."""


def plain(value: Any) -> Any:
    """Returns a value as SQLite is given it: moments as text that sorts as they do."""
    return value.astimezone(UTC).isoformat(timespec="microseconds") if isinstance(value, datetime) else value


def named(key: Key) -> tuple[str, str]:
    """Returns a tick's primary key."""
    return key.schedule, plain(key.time)


def schedule(row: Row) -> Schedule:
    """Returns the schedule of a row."""
    return Schedule(**_checked(row, _SCHEDULE), timing=Timing(**_checked(row, _TIMING)))


def tick(row: Row) -> Tick:
    """Returns the tick of a row."""
    values = _checked(row, _TICK)
    return Tick(Key(values.pop("schedule"), values.pop("tick")), **values)


def time(row: Row) -> datetime:
    """Returns the moment of the tick of a row."""
    moment: datetime = _checked(row, {"tick": _moment})["tick"]
    return moment


def range_of(row: Row) -> Range:
    """Returns the range of a row."""
    return Range(**_checked(row, _RANGE))


def of_range(range: Range) -> list[Any]:
    """Returns a range's row."""
    return [plain(value) for value in astuple(range)]


Check = Callable[[Any], Any]
"""Returns the value of a column as a field of ours, or raises ValueError."""


def _checked(row: Row, columns: dict[str, Check]) -> dict[str, Any]:
    values = {}
    for column, check in columns.items():
        try:
            values[column] = check(row[column])
        except (ValueError, RecursionError):
            text = repr(row[column])
            raise DamagedRowError(f"{column} is {text if len(text) <= 60 else f'{text[:57]}…'}") from None
    return values


def _is(kind: type, is_right: Callable[[Any], bool] = lambda _: True) -> Check:
    def check(value: Any) -> Any:
        if not isinstance(value, kind) or not is_right(value):
            raise ValueError
        return value

    return check


def _or_none(check: Check) -> Check:
    return lambda value: None if value is None else check(value)


def _moment(value: Any) -> datetime:
    moment = datetime.fromisoformat(_text(value))
    if moment.tzinfo is None or moment.year not in _YEARS:
        raise ValueError
    return moment


_text = _is(str)
_number = _is(int)
_positive = _is(int, lambda number: number > 0)
_SCHEDULE: dict[str, Check] = {
    **dict.fromkeys(("id", "name", "folder"), _text),
    **dict.fromkeys(("created", "settled"), _moment),
    **dict.fromkeys(("paused", "deleted"), _or_none(_moment)),
    "experiment": lambda value: _is(dict)(json.loads(_text(value))),
    "if_changed": lambda value: bool(_number(value)),
}
_TIMING: dict[str, Check] = {
    **dict.fromkeys(("cron", "timezone"), _text),
    **dict.fromkeys(("start", "end"), _or_none(_moment)),
    "max_active": _positive,
    "catch_up": _is(str, get_args(CatchUp).__contains__),
}
_TICK: dict[str, Check] = {
    "schedule": _text,
    "tick": _moment,
    "origin": _is(str, get_args(Origin).__contains__),
    "state": _is(str, get_args(State).__contains__),
    "attempts": _number,
    **dict.fromkeys(("process", "exit_code"), _or_none(_number)),
    **dict.fromkeys(("started", "ended"), _or_none(_moment)),
    **dict.fromkeys(("run", "reason"), _or_none(_text)),
}
_RANGE: dict[str, Check] = {
    **dict.fromkeys(("schedule", "reason"), _text),
    **dict.fromkeys(("first", "last", "recorded"), _moment),
    "ticks": _positive,
    "state": _is(str, get_args(NeverRan).__contains__),
}
