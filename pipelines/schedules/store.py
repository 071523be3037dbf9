"""Schedules and the records of their ticks in `schedules.db`."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import astuple, replace
from datetime import UTC, datetime
from pathlib import Path
from sqlite3 import Row
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from elboflow.settings import WorkError
from pipelines.schedules.database import Database
from pipelines.schedules.states import OPEN, Key, Range, Schedule, Tick, kept, located
from pipelines.timing import Moment

Read = TypeVar("Read")


class DamagedRowError(ValueError):
    """A row holds what no version of ELBOflow writes. The text names the column and its value."""


class Store(Database):
    """The schedules of a workspace.

    Attributes:
        damaged: The damaged rows that reads have met so far, and why. Reads leave them out.
    """

    def __init__(self, workspace: Path) -> None:
        super().__init__(workspace)
        self.damaged: dict[str, str] = {}

    def schedules(self) -> list[Schedule]:
        """Returns the schedules that were not deleted, in their order of creation."""
        found = self.read("SELECT * FROM schedules WHERE deleted IS NULL ORDER BY created, id")
        return self._readable(found, self._schedule, lambda row: f"the schedule {row['id']}")

    def ids(self) -> list[str]:
        """Returns the ids of the schedules that were not deleted, in their order of creation."""
        found = self.read("SELECT id FROM schedules WHERE deleted IS NULL ORDER BY created, id")
        return [str(row["id"]) for row in found]

    def unreadable(self) -> dict[str, str]:
        """Returns the schedules whose rows are damaged, by their ids, and what is wrong."""
        found = {}
        for row in self.read("SELECT * FROM schedules WHERE deleted IS NULL ORDER BY created, id"):
            try:
                _read_schedule(row)
            except DamagedRowError as error:
                found[str(row["id"])] = self._damage(error)
        return found

    def schedule(self, id: str) -> Schedule | None:
        """Returns a schedule, even a deleted one. A damaged one is a WorkError."""
        found = self.read("SELECT * FROM schedules WHERE id = ?", id)
        try:
            return self._schedule(found[0]) if found else None
        except DamagedRowError as error:
            raise WorkError(f"the schedule {id} {self._damage(error)}; delete it, and make it anew") from None

    def add(self, schedule: Schedule, files: Mapping[str, str] | None = None) -> None:
        """Adds a schedule, and the SHA-256 of each file that its experiment was read from."""
        timing = schedule.timing
        folder = kept(schedule.folder, self.workspace)
        values: list[Any] = [schedule.id, schedule.name, json.dumps(schedule.experiment), folder]
        values += [timing.cron, timing.timezone, timing.start, timing.end, timing.max_active, timing.catch_up]
        values += [schedule.if_changed, schedule.created, schedule.settled, schedule.paused, schedule.deleted]
        self.write(f"INSERT INTO schedules VALUES ({', '.join('?' * len(values))})", *map(plain, values))
        self.write_all("INSERT INTO files VALUES (?, ?, ?)", [(schedule.id, *file) for file in (files or {}).items()])

    def files(self, schedule: str) -> dict[str, str]:
        """Returns the files that a schedule's experiment was read from, with their SHA-256 at creation.

        Paths in the schedule's folder are relative to it. Schedules of older versions have none.
        """
        found = self.read("SELECT path, digest FROM files WHERE schedule = ?", schedule)
        return {row["path"]: row["digest"] for row in found if isinstance(row["path"], str)}

    def new_id(self, name: str) -> str:
        """Returns an id that was never used: the experiment's name and a number."""
        number = 1 + int(self.read("SELECT count(*) FROM schedules WHERE name = ?", name)[0][0])
        while self.read("SELECT 1 FROM schedules WHERE id = ?", f"{name}-{number}"):
            number += 1  # a name in another row is damaged
        return f"{name}-{number}"

    def change(self, id: str, **values: datetime | None) -> None:
        """Sets `settled`, `paused` or `deleted` of a schedule."""
        columns = ", ".join(f"{column} = ?" for column in values)
        self.write(f"UPDATE schedules SET {columns} WHERE id = ?", *map(plain, values.values()), id)

    def record(self, ticks: Iterable[Tick]) -> None:
        """Adds ticks."""
        values = [(*named(tick.key), *map(plain, astuple(tick)[1:])) for tick in ticks]
        self.write_all(f"INSERT INTO ticks VALUES ({', '.join('?' * 11)})", values)

    def record_range(self, range: Range) -> None:
        """Adds a range, or replaces the one that begins with the same tick."""
        self.write("INSERT OR REPLACE INTO ranges VALUES (?, ?, ?, ?, ?, ?, ?)", *map(plain, astuple(range)))

    def tick(self, key: Key) -> Tick | None:
        """Returns the record of a tick."""
        found = self._ticks(self.read("SELECT * FROM ticks WHERE schedule = ? AND tick = ?", *named(key)))
        return found[0] if found else None

    def recorded(self, schedule: str, after: datetime, until: datetime) -> list[datetime]:
        """Returns the ticks between two moments that have their own records, the oldest first."""
        query = "SELECT tick FROM ticks WHERE schedule = ? AND tick > ? AND tick <= ? ORDER BY tick"
        found = self.read(query, schedule, plain(after), plain(until))
        return self._readable(found, lambda row: _checked(_MOMENT, row["tick"]), lambda row: f"a tick of {schedule}")

    def open_ticks(self, schedule: str | None = None) -> list[Tick]:
        """Returns the ticks that have not ended, the oldest first."""
        states = ", ".join(f"'{state}'" for state in sorted(OPEN))
        of = "schedule = ?" if schedule is not None else "? IS NULL"
        return self._ticks(
            self.read(f"SELECT * FROM ticks WHERE state IN ({states}) AND {of} ORDER BY tick, schedule", schedule)
        )

    def history(self, schedule: str, limit: int, now: datetime) -> list[Tick | Range]:
        """Returns the records of a schedule, the newest first; then those of future ticks (a clock was ahead)."""
        ticks = "SELECT * FROM ticks WHERE schedule = ? ORDER BY tick > ?, tick DESC LIMIT ?"
        ranges = "SELECT * FROM ranges WHERE schedule = ? ORDER BY last > ?, last DESC LIMIT ?"
        found: list[Tick | Range] = [*self._ticks(self.read(ticks, schedule, plain(now), limit))]
        found += self._ranges(self.read(ranges, schedule, plain(now), limit))
        return sorted(found, key=lambda record: (record.last <= now, record.last), reverse=True)[:limit]

    def last_range(self, schedule: str) -> Range | None:
        """Returns the latest range of a schedule."""
        found = self._ranges(self.read("SELECT * FROM ranges WHERE schedule = ? ORDER BY first DESC LIMIT 1", schedule))
        return found[0] if found else None

    def turn(self, key: Key, before: str, to: str, **values: Any) -> bool:
        """Changes the state of a tick in one statement, and returns whether it was in the state `before`."""
        columns = ", ".join(["state = ?", *(f"{column} = ?" for column in values)])
        command = f"UPDATE ticks SET {columns} WHERE schedule = ? AND tick = ? AND state = ?"
        return self.write(command, to, *map(plain, values.values()), *named(key), before) == 1

    def forget(self, schedule: str, after: datetime) -> list[Range]:
        """Deletes the records of ticks after a moment that never ran. Returns the ranges that contain the moment."""
        never_ran = "process IS NULL AND origin <> 'hand' AND state IN ('missed', 'skipped', 'waiting', 'claimed')"
        self.write(f"DELETE FROM ticks WHERE schedule = ? AND tick > ? AND {never_ran}", schedule, plain(after))
        self.write("DELETE FROM ranges WHERE schedule = ? AND first > ?", schedule, plain(after))
        return self._ranges(self.read("SELECT * FROM ranges WHERE schedule = ? AND last > ?", schedule, plain(after)))

    def _schedule(self, row: Row) -> Schedule:
        found = _read_schedule(row)
        return replace(found, folder=located(found.folder, self.workspace))

    def _ticks(self, found: Iterable[Row]) -> list[Tick]:
        return self._readable(found, _read_tick, lambda row: f"the tick {row['tick']} of {row['schedule']}")

    def _ranges(self, found: Iterable[Row]) -> list[Range]:
        return self._readable(
            found,
            lambda row: _checked(_RANGE, dict(row)),
            lambda row: f"the ticks from {row['first']} of {row['schedule']}",
        )

    def _readable(self, found: Iterable[Row], read: Callable[[Row], Read], what: Callable[[Row], str]) -> list[Read]:
        """Returns the readable rows, and notes the others in `damaged`."""
        values = []
        for row in found:
            try:
                values.append(read(row))
            except DamagedRowError as error:
                self.damaged[what(row)] = self._damage(error)
        return values

    def _damage(self, error: DamagedRowError) -> str:
        return f"cannot be read: its row in {self.path} is damaged, {error}"


_SCHEDULE, _TICK, _RANGE = TypeAdapter(Schedule), TypeAdapter(Tick), TypeAdapter(Range)
_MOMENT: TypeAdapter[datetime] = TypeAdapter(Moment)


def plain(value: Any) -> Any:
    """Returns a value as SQLite is given it: moments as text that sorts as they do."""
    return value.astimezone(UTC).isoformat(timespec="microseconds") if isinstance(value, datetime) else value


def named(key: Key) -> tuple[str, str]:
    """Returns a tick's primary key."""
    return key.schedule, plain(key.time)


def _read_schedule(row: Row) -> Schedule:
    return _checked(_SCHEDULE, {**dict(row), "timing": dict(row)})


def _read_tick(row: Row) -> Tick:
    return _checked(_TICK, {**dict(row), "key": {"schedule": row["schedule"], "time": row["tick"]}})


def _checked(kind: TypeAdapter[Read], values: Any) -> Read:
    try:
        return kind.validate_python(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
    column, text = ("tick", *first["loc"])[-1], repr(first["input"])
    column = "tick" if column == "time" else column
    raise DamagedRowError(f"{column} is {text if len(text) <= 60 else f'{text[:57]}…'}")
