"""Values as rows of `schedules.db`, and back."""

from datetime import UTC, datetime
from sqlite3 import Row
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from pipelines.schedules.states import Key, Range, Schedule, Tick
from pipelines.timing import Moment

Read = TypeVar("Read")


class DamagedRowError(ValueError):
    """A row holds what no version of ELBOflow writes. The text names the column and its value."""


_SCHEDULE, _TICK, RANGE = TypeAdapter(Schedule), TypeAdapter(Tick), TypeAdapter(Range)
MOMENT: TypeAdapter[datetime] = TypeAdapter(Moment)


def plain(value: Any) -> Any:
    """Returns a value as SQLite is given it: moments as text that sorts as they do."""
    return value.astimezone(UTC).isoformat(timespec="microseconds") if isinstance(value, datetime) else value


def named(key: Key) -> tuple[str, str]:
    """Returns a tick's primary key."""
    return key.schedule, plain(key.time)


def read_schedule(row: Row) -> Schedule:
    """Returns the schedule of a row, or raises DamagedRowError."""
    return checked(_SCHEDULE, {**dict(row), "timing": dict(row)})


def read_tick(row: Row) -> Tick:
    """Returns the tick of a row, or raises DamagedRowError."""
    return checked(_TICK, {**dict(row), "key": {"schedule": row["schedule"], "time": row["tick"]}})


def checked(kind: TypeAdapter[Read], values: Any) -> Read:
    """Returns values of a row as what they are, or raises DamagedRowError."""
    try:
        return kind.validate_python(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
    column, text = ("tick", *first["loc"])[-1], repr(first["input"])
    column = "tick" if column == "time" else column
    raise DamagedRowError(f"{column} is {text if len(text) <= 60 else f'{text[:57]}…'}")
