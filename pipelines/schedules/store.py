"""Schedules and the records of their ticks in `schedules.db`."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import astuple, fields, replace
from datetime import datetime
from pathlib import Path
from sqlite3 import Row
from typing import Any

from elboflow.settings import WorkError
from pipelines.schedules.database import Database
from pipelines.schedules.rows import (
    MOMENT,
    RANGE,
    DamagedRowError,
    Read,
    checked,
    named,
    plain,
    read_schedule,
    read_tick,
)
from pipelines.schedules.states import OPEN, Key, Range, Schedule, Tick, kept, located


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
        found = self.read(f"{_SCHEDULES} WHERE deleted IS NULL ORDER BY created, id")
        return self._readable(found, self._schedule, lambda row: f"the schedule {row['id']}")

    def ids(self) -> list[str]:
        """Returns the ids of the schedules that were not deleted, in their order of creation."""
        found = self.read("SELECT id FROM schedules WHERE deleted IS NULL ORDER BY created, id")
        return [str(row["id"]) for row in found]

    def unreadable(self) -> dict[str, str]:
        """Returns the schedules whose rows are damaged, by their ids, and what is wrong."""
        found = {}
        for row in self.read(f"{_SCHEDULES} WHERE deleted IS NULL ORDER BY created, id"):
            try:
                read_schedule(row)
            except DamagedRowError as error:
                found[str(row["id"])] = self._damage(error)
        return found

    def schedule(self, id: str) -> Schedule | None:
        """Returns a schedule, even a deleted one. A damaged one is a WorkError."""
        found = self.read(f"{_SCHEDULES} WHERE id = ?", id)
        try:
            return self._schedule(found[0]) if found else None
        except DamagedRowError as error:
            raise WorkError(f"the schedule {id} {self._damage(error)}; delete it, and make it anew") from None

    def labels(self) -> list[str]:
        """Returns the names of the schedules that were not deleted."""
        found = self.read("SELECT label FROM schedules JOIN names ON schedule = id WHERE deleted IS NULL")
        return [str(row["label"]) for row in found]

    def named(self, label: str) -> str | None:
        """Returns the id of the schedule of a name that was not deleted; None where there is none."""
        query = "SELECT id FROM schedules JOIN names ON schedule = id WHERE label = ? AND deleted IS NULL"
        found = self.read(query, label)
        return str(found[0]["id"]) if found else None

    def add(self, schedule: Schedule, files: Mapping[str, str] | None = None) -> None:
        """Adds a schedule, or replaces the one of its id, and the SHA-256 of each file that its experiment is from."""
        timing = schedule.timing
        values = {
            "name": schedule.name,
            "experiment": json.dumps(schedule.experiment),
            "folder": kept(schedule.folder, self.workspace),
            **{field.name: getattr(timing, field.name) for field in fields(timing)},
            **{name: getattr(schedule, name) for name in ("if_changed", "created", "settled", "paused", "deleted")},
        }
        columns = ", ".join(f'"{column}"' for column in values)
        marks = ", ".join("?" * len(values))
        changed = ", ".join(f'"{column}" = excluded."{column}"' for column in values)
        self.write(
            f"INSERT INTO schedules (id, {columns}) VALUES (?, {marks}) ON CONFLICT (id) DO UPDATE SET {changed}",
            schedule.id,
            *map(plain, values.values()),
        )
        if schedule.label is not None:
            self.write("INSERT OR REPLACE INTO names VALUES (?, ?, ?)", schedule.id, schedule.label, schedule.group)
        self.write("DELETE FROM files WHERE schedule = ?", schedule.id)
        self.write_all("INSERT INTO files VALUES (?, ?, ?)", [(schedule.id, *file) for file in (files or {}).items()])

    def files(self, schedule: str) -> dict[str, str]:
        """Returns the files that a schedule's experiment was read from, with their SHA-256 at creation.

        Paths in the schedule's folder are relative to it. Schedules of older versions have none.
        """
        found = self.read("SELECT path, digest FROM files WHERE schedule = ?", schedule)
        return {row["path"]: row["digest"] for row in found if isinstance(row["path"], str)}

    def new_id(self, name: str) -> str:
        """Returns an id that was never used and is no other schedule's name: the experiment's name and a number."""
        number = 1 + int(self.read("SELECT count(*) FROM schedules WHERE name = ?", name)[0][0])
        taken = "SELECT 1 FROM schedules WHERE id = ? UNION SELECT 1 FROM names WHERE label = ?"
        while self.read(taken, f"{name}-{number}", f"{name}-{number}"):
            number += 1
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

    def missed(self, schedule: str, since: datetime) -> list[Range]:
        """Returns the ranges of missed ticks that were recorded since a moment."""
        query = "SELECT * FROM ranges WHERE schedule = ? AND state = 'missed' AND recorded >= ? ORDER BY first"
        return self._ranges(self.read(query, schedule, plain(since)))

    def alert(self, key: Key, event: str) -> bool:
        """Records that something of a tick is told, and returns whether it was not told before."""
        return self.write("INSERT OR IGNORE INTO alerts VALUES (?, ?, ?)", *named(key), event) == 1

    def record_date(self, key: Key, date: str) -> None:
        """Adds the date of a tick, of one whose moment does not say it."""
        self.write("INSERT OR REPLACE INTO dates VALUES (?, ?, ?)", *named(key), date)

    def dates(self, schedule: str) -> dict[Key, str]:
        """Returns the dates of the ticks whose moments do not say them: those by hand, and those after another run."""
        found = self.read("SELECT tick, date FROM dates WHERE schedule = ?", schedule)
        return dict(
            self._readable(
                found,
                lambda row: (Key(schedule, checked(MOMENT, row["tick"])), str(row["date"])),
                lambda row: f"a date of {schedule}",
            )
        )

    def ran(self, schedule: str) -> list[Tick]:
        """Returns the ticks of a schedule that began, in the order in which they did."""
        return self._ticks(
            self.read("SELECT * FROM ticks WHERE schedule = ? AND started IS NOT NULL ORDER BY started", schedule)
        )

    def tick(self, key: Key) -> Tick | None:
        """Returns the record of a tick."""
        found = self._ticks(self.read("SELECT * FROM ticks WHERE schedule = ? AND tick = ?", *named(key)))
        return found[0] if found else None

    def recorded(self, schedule: str, after: datetime, until: datetime) -> list[datetime]:
        """Returns the ticks between two moments that have their own records, the oldest first."""
        query = "SELECT tick FROM ticks WHERE schedule = ? AND tick > ? AND tick <= ? ORDER BY tick"
        found = self.read(query, schedule, plain(after), plain(until))
        return self._readable(found, lambda row: checked(MOMENT, row["tick"]), lambda row: f"a tick of {schedule}")

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
        found = read_schedule(row)
        return replace(found, folder=located(found.folder, self.workspace))

    def _ticks(self, found: Iterable[Row]) -> list[Tick]:
        return self._readable(found, read_tick, lambda row: f"the tick {row['tick']} of {row['schedule']}")

    def _ranges(self, found: Iterable[Row]) -> list[Range]:
        return self._readable(
            found,
            lambda row: checked(RANGE, dict(row)),
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


_SCHEDULES = 'SELECT schedules.*, label, "group" FROM schedules LEFT JOIN names ON schedule = id'
