"""The tables of `schedules.db`, and the upgrade of older versions.

A version only adds tables, and changes only what the processes of ticks read: a scheduler that was started before an
update goes on with the tables that it knows.
"""

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

from pipelines.schedules.states import kept

VERSION = 5

_FIRST = """
CREATE TABLE schedules (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, experiment TEXT NOT NULL, folder TEXT NOT NULL,
    cron TEXT NOT NULL, timezone TEXT NOT NULL, "start" TEXT, "end" TEXT,
    max_active INTEGER NOT NULL, catch_up TEXT NOT NULL, if_changed INTEGER NOT NULL,
    created TEXT NOT NULL, settled TEXT NOT NULL, paused TEXT, deleted TEXT
) WITHOUT ROWID;
CREATE TABLE ticks (
    schedule TEXT NOT NULL REFERENCES schedules (id), tick TEXT NOT NULL,
    origin TEXT NOT NULL, state TEXT NOT NULL, attempts INTEGER NOT NULL, process INTEGER,
    started TEXT, ended TEXT, run TEXT, exit_code INTEGER, reason TEXT,
    PRIMARY KEY (schedule, tick)
) WITHOUT ROWID;
CREATE INDEX open_ticks ON ticks (schedule, state) WHERE state IN ('waiting', 'claimed', 'running');
CREATE TABLE daemon (
    only INTEGER PRIMARY KEY CHECK (only = 1), process INTEGER NOT NULL, host TEXT NOT NULL, heartbeat TEXT NOT NULL
);
"""
_SECOND = """
CREATE TABLE ranges (
    schedule TEXT NOT NULL REFERENCES schedules (id), first TEXT NOT NULL, last TEXT NOT NULL,
    ticks INTEGER NOT NULL CHECK (ticks > 0), state TEXT NOT NULL, reason TEXT NOT NULL, recorded TEXT NOT NULL,
    PRIMARY KEY (schedule, first)
) WITHOUT ROWID;
CREATE TABLE places (only INTEGER PRIMARY KEY CHECK (only = 1), runs INTEGER NOT NULL);
"""
_FOURTH = """
CREATE TABLE files (
    schedule TEXT NOT NULL REFERENCES schedules (id), path TEXT NOT NULL, digest TEXT NOT NULL,
    PRIMARY KEY (schedule, path)
) WITHOUT ROWID;
"""
_FIFTH = """
CREATE TABLE names (
    schedule TEXT PRIMARY KEY REFERENCES schedules (id), label TEXT NOT NULL, "group" TEXT
) WITHOUT ROWID;
CREATE TABLE polls (
    schedule TEXT PRIMARY KEY REFERENCES schedules (id), polled TEXT NOT NULL,
    signature TEXT, fingerprint TEXT, error TEXT
) WITHOUT ROWID;
CREATE TABLE alerts (
    schedule TEXT NOT NULL REFERENCES schedules (id), tick TEXT NOT NULL, event TEXT NOT NULL,
    PRIMARY KEY (schedule, tick, event)
) WITHOUT ROWID;
CREATE TABLE dates (
    schedule TEXT NOT NULL REFERENCES schedules (id), tick TEXT NOT NULL, date TEXT NOT NULL,
    PRIMARY KEY (schedule, tick)
) WITHOUT ROWID;
"""


def _third(database: sqlite3.Connection, workspace: Path) -> None:
    """Rewrites folders that contain the workspace as paths relative to it."""
    text = "SELECT DISTINCT CAST(folder AS BLOB) FROM schedules WHERE typeof(folder) = 'text'"
    for (raw,) in database.execute(text).fetchall():  # as bytes: a damaged row must not stop the others
        try:
            folder = raw.decode()
        except UnicodeDecodeError:
            continue
        database.execute("UPDATE schedules SET folder = ? WHERE folder = ?", (kept(folder, workspace), folder))


_STEPS: tuple[str | Callable[[sqlite3.Connection, Path], None], ...] = (_FIRST, _SECOND, _third, _FOURTH, _FIFTH)
"""The steps to version 1, from there to version 2, and so on: statements, or a function."""


def version(database: sqlite3.Connection) -> int:
    """Returns the version of a database's tables; 0 where it has none."""
    return int(database.execute("PRAGMA user_version").fetchone()[0])


def upgrade(database: sqlite3.Connection, workspace: Path) -> None:
    """Brings the tables to this version, within a transaction of the caller.

    Args:
        workspace: The workspace that it is in, without symbolic links.
    """
    for step in _STEPS[version(database) :]:
        if not isinstance(step, str):
            step(database, workspace)
            continue
        for statement in step.split(";"):
            database.execute(statement)
    database.execute(f"PRAGMA user_version = {VERSION}")


def lacking(database: sqlite3.Connection) -> Sequence[str]:
    """Returns the columns of this version's tables that a database does not have, as `table.column`."""
    with sqlite3.connect(":memory:") as model:
        upgrade(model, Path())
        wanted = _columns(model)
    model.close()
    return sorted(wanted - _columns(database))


def is_foreign(database: sqlite3.Connection) -> bool:
    """Returns whether a database without a version has tables: another program's.

    One statement, so that another process cannot make its tables between two.
    """
    query = "SELECT user_version = 0 AND EXISTS (SELECT * FROM sqlite_schema) FROM pragma_user_version"
    return bool(database.execute(query).fetchone()[0])


def _columns(database: sqlite3.Connection) -> set[str]:
    query = "SELECT t.name, c.name FROM sqlite_schema t, pragma_table_info(t.name) c WHERE t.type = 'table'"
    return {f"{table}.{column}" for table, column in database.execute(query)}
