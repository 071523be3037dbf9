"""Schedules and the record of every tick, as they are kept in `schedules.db`."""

import json
from collections.abc import Iterable
from dataclasses import astuple, fields
from datetime import UTC, datetime
from sqlite3 import Row
from typing import Any

from pipelines.schedules.database import Database
from pipelines.schedules.states import OPEN, Key, Schedule, Tick
from pipelines.targets import Timing


class Store(Database):
    """The schedules of a workspace."""

    def schedules(self) -> list[Schedule]:
        """Returns the schedules that were not deleted, in their order of creation."""
        return [
            _schedule(row) for row in self.read("SELECT * FROM schedules WHERE deleted IS NULL ORDER BY created, id")
        ]

    def schedule(self, id: str) -> Schedule | None:
        """Returns a schedule, even a deleted one."""
        rows = self.read("SELECT * FROM schedules WHERE id = ?", id)
        return _schedule(rows[0]) if rows else None

    def add(self, schedule: Schedule) -> None:
        """Adds a schedule."""
        timing = schedule.timing
        values: list[Any] = [schedule.id, schedule.name, json.dumps(schedule.experiment), schedule.folder]
        values += [timing.cron, timing.timezone, timing.start, timing.end, timing.max_active, timing.catch_up]
        values += [schedule.if_changed, schedule.created, schedule.settled, schedule.paused, schedule.deleted]
        self.write(f"INSERT INTO schedules VALUES ({', '.join('?' * len(values))})", *map(_plain, values))

    def numbered(self, name: str) -> int:
        """Returns how many schedules an experiment ever had."""
        return int(self.read("SELECT count(*) FROM schedules WHERE name = ?", name)[0][0])

    def change(self, id: str, **values: datetime | None) -> None:
        """Sets `settled`, `paused` or `deleted` of a schedule."""
        columns = ", ".join(f"{column} = ?" for column in values)
        self.write(f"UPDATE schedules SET {columns} WHERE id = ?", *map(_plain, values.values()), id)

    def record(self, ticks: Iterable[Tick]) -> None:
        """Adds ticks."""
        rows = [(*_named(tick.key), *map(_plain, astuple(tick)[1:])) for tick in ticks]
        self.write_all(f"INSERT INTO ticks VALUES ({', '.join('?' * 11)})", rows)

    def tick(self, key: Key) -> Tick | None:
        """Returns the record of a tick."""
        rows = self.read("SELECT * FROM ticks WHERE schedule = ? AND tick = ?", *_named(key))
        return _tick(rows[0]) if rows else None

    def recorded(self, schedule: str, after: datetime) -> set[datetime]:
        """Returns the ticks after a moment that have their record."""
        rows = self.read("SELECT tick FROM ticks WHERE schedule = ? AND tick > ?", schedule, _plain(after))
        return {datetime.fromisoformat(row["tick"]) for row in rows}

    def open_ticks(self, schedule: str | None = None) -> list[Tick]:
        """Returns the ticks that have not ended, the oldest first."""
        states = ", ".join(f"'{state}'" for state in sorted(OPEN))
        of = "schedule = ?" if schedule is not None else "? IS NULL"
        return [
            _tick(row)
            for row in self.read(f"SELECT * FROM ticks WHERE state IN ({states}) AND {of} ORDER BY tick", schedule)
        ]

    def history(self, schedule: str, limit: int) -> list[Tick]:
        """Returns the records of a schedule, the newest first."""
        return [
            _tick(row)
            for row in self.read("SELECT * FROM ticks WHERE schedule = ? ORDER BY tick DESC LIMIT ?", schedule, limit)
        ]

    def turn(self, key: Key, before: str, to: str, **values: Any) -> bool:
        """Takes a tick from one state to another, in one statement, and returns whether it was in the one.

        Args:
            key: The tick.
            before: The state that it has to be in.
            to: The state that it is in then.
            **values: What else becomes known of it.
        """
        columns = ", ".join(["state = ?", *(f"{column} = ?" for column in values)])
        command = f"UPDATE ticks SET {columns} WHERE schedule = ? AND tick = ? AND state = ?"
        return self.write(command, to, *map(_plain, values.values()), *_named(key), before) == 1

    def forget(self, schedule: str, after: datetime) -> None:
        """Removes the records after a moment of ticks that never ran."""
        never_ran = "process IS NULL AND state IN ('missed', 'skipped', 'waiting')"
        self.write(f"DELETE FROM ticks WHERE schedule = ? AND tick > ? AND {never_ran}", schedule, _plain(after))


def _named(key: Key) -> tuple[str, str]:
    return key.schedule, _plain(key.time)


def _plain(value: Any) -> Any:
    """Returns what SQLite is given: moments as text that sorts as they do."""
    return value.astimezone(UTC).isoformat(timespec="microseconds") if isinstance(value, datetime) else value


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _schedule(row: Row) -> Schedule:
    values = dict(row)
    for column in ("start", "end", "created", "settled", "paused", "deleted"):
        values[column] = _moment(values[column])
    timing = Timing(**{name: values.pop(name) for name in _TIMING})
    values["experiment"] = json.loads(values["experiment"])
    return Schedule(timing=timing, **{**values, "if_changed": bool(values["if_changed"])})


_TIMING = tuple(field.name for field in fields(Timing))


def _tick(row: Row) -> Tick:
    values = dict(row)
    for column in ("started", "ended"):
        values[column] = _moment(values[column])
    return Tick(Key(values.pop("schedule"), datetime.fromisoformat(values.pop("tick"))), **values)
