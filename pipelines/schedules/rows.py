"""Rows of `schedules.db` as values, and values as rows. A row that makes no sense is a `DamagedRowError`."""

import json
from collections.abc import Sequence
from dataclasses import fields
from datetime import UTC, datetime
from sqlite3 import Row
from typing import Any, get_args

from pipelines.schedules.states import Key, NeverRan, Origin, Range, Schedule, State, Tick
from pipelines.timing import Timing

_YEARS = range(1970, 9991)


class DamagedRowError(ValueError):
    """A row holds what no version of ELBOflow writes. The text says in which column, and what."""


def plain(value: Any) -> Any:
    """Returns what SQLite is given: moments as text that sorts as they do."""
    return value.astimezone(UTC).isoformat(timespec="microseconds") if isinstance(value, datetime) else value


def named(key: Key) -> tuple[str, str]:
    """Returns a tick's primary key."""
    return key.schedule, plain(key.time)


def schedule(row: Row) -> Schedule:
    """Returns the schedule of a row."""
    try:
        experiment = json.loads(_text(row, "experiment"))
    except (ValueError, RecursionError):
        experiment = None
    if not isinstance(experiment, dict):
        raise _damaged(row, "experiment")
    timing = Timing(
        cron=_text(row, "cron"),
        timezone=_text(row, "timezone"),
        start=_moment_or_none(row, "start"),
        end=_moment_or_none(row, "end"),
        max_active=_number(row, "max_active", least=1),
        catch_up=_one_of(row, "catch_up", ("none", "last", "all")),
    )
    return Schedule(
        id=_text(row, "id"),
        name=_text(row, "name"),
        experiment=experiment,
        folder=_text(row, "folder"),
        timing=timing,
        if_changed=bool(_number(row, "if_changed")),
        created=_moment(row, "created"),
        settled=_moment(row, "settled"),
        paused=_moment_or_none(row, "paused"),
        deleted=_moment_or_none(row, "deleted"),
    )


def tick(row: Row) -> Tick:
    """Returns the tick of a row."""
    return Tick(
        key=Key(_text(row, "schedule"), _moment(row, "tick")),
        origin=_one_of(row, "origin", get_args(Origin)),
        state=_one_of(row, "state", get_args(State)),
        attempts=_number(row, "attempts"),
        process=None if row["process"] is None else _number(row, "process"),
        started=_moment_or_none(row, "started"),
        ended=_moment_or_none(row, "ended"),
        run=None if row["run"] is None else _text(row, "run"),
        exit_code=None if row["exit_code"] is None else _number(row, "exit_code"),
        reason=None if row["reason"] is None else _text(row, "reason"),
    )


def time(row: Row) -> datetime:
    """Returns the moment of the tick of a row."""
    return _moment(row, "tick")


def range_of(row: Row) -> Range:
    """Returns the range of a row."""
    return Range(
        schedule=_text(row, "schedule"),
        first=_moment(row, "first"),
        last=_moment(row, "last"),
        ticks=_number(row, "ticks", least=1),
        state=_one_of(row, "state", get_args(NeverRan)),
        reason=_text(row, "reason"),
        recorded=_moment(row, "recorded"),
    )


def of_range(range: Range) -> list[Any]:
    """Returns a range's row."""
    return [plain(getattr(range, field.name)) for field in fields(range)]


def _text(row: Row, column: str) -> str:
    if not isinstance(value := row[column], str):
        raise _damaged(row, column)
    return value


def _number(row: Row, column: str, least: int = -(2**63)) -> int:
    if not isinstance(value := row[column], int) or value < least:
        raise _damaged(row, column)
    return value


def _one_of(row: Row, column: str, allowed: Sequence[Any]) -> Any:
    if (value := row[column]) not in allowed:
        raise _damaged(row, column)
    return value


def _moment(row: Row, column: str) -> datetime:
    try:
        moment = datetime.fromisoformat(_text(row, column))
    except ValueError:
        raise _damaged(row, column) from None
    if moment.tzinfo is None or moment.year not in _YEARS:
        raise _damaged(row, column)
    return moment


def _moment_or_none(row: Row, column: str) -> datetime | None:
    return None if row[column] is None else _moment(row, column)


def _damaged(row: Row, column: str) -> DamagedRowError:
    text = repr(row[column])
    return DamagedRowError(f"{column} is {text if len(text) <= 60 else f'{text[:57]}…'}")
