"""`schedules.db`: plain tables of SQLite, which the daemon, its runs and people's commands write to at the same time.

A transaction takes SQLite's only right to write at its beginning, so that what it read still holds when it writes.
"""

import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from settings import RequestError, WorkError

FILE = "schedules.db"
_VERSION = 1
_SCHEMA = """
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
_PATIENCE = 30.0
"""Seconds to wait for another process that writes."""


class Database:
    """An open `schedules.db`, made if need be.

    Raises:
        RequestError: It was written by a newer version of ELBOflow.
        WorkError: It cannot be opened, or is no such database.
    """

    def __init__(self, workspace: Path) -> None:
        self.path = workspace / FILE
        self._lock = threading.RLock()
        with self._understood():
            self._database = sqlite3.connect(
                self.path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False
            )
            self._database.row_factory = sqlite3.Row
        try:
            with self._understood():
                self._open()
        except BaseException:
            self._database.close()
            raise

    def _open(self) -> None:
        self._use_wal()
        # FULL: a tick that was launched must be known to have been, even after the power went.
        self._database.execute("PRAGMA synchronous = FULL")
        self._database.execute("PRAGMA foreign_keys = ON")
        if (version := self._version()) < _VERSION:
            with self.transaction():
                if self._version() < _VERSION:  # nobody else made the tables meanwhile
                    for statement in _SCHEMA.split(";"):
                        self._database.execute(statement)
                    self._database.execute(f"PRAGMA user_version = {_VERSION}")
        elif version > _VERSION:
            raise RequestError(f"{self.path} was written by a newer version of ELBOflow")

    def _use_wal(self) -> None:
        """Lets readers read while one writes. SQLite does not wait by itself where others open a new file as well."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                self._database.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    @contextmanager
    def _understood(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.IntegrityError:
            raise
        except sqlite3.DatabaseError as error:
            raise WorkError(f"{self.path} cannot be used: {error}") from None

    def _version(self) -> int:
        return int(self._database.execute("PRAGMA user_version").fetchone()[0])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes it."""
        with self._lock:
            self._database.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Makes what happens within it happen wholly or not at all, with nobody else's changes in between."""
        with self._lock:
            self.write("BEGIN IMMEDIATE")
            try:
                yield
                self.write("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    self._database.rollback()
                raise

    def read(self, query: str, *values: Any) -> list[sqlite3.Row]:
        """Returns the rows of a query."""
        with self._lock, self._understood():
            return self._database.execute(query, values).fetchall()

    def write(self, command: str, *values: Any) -> int:
        """Executes a command and returns how many rows it changed."""
        with self._lock, self._understood():
            return self._database.execute(command, values).rowcount

    def write_all(self, command: str, rows: Iterable[Sequence[Any]]) -> None:
        """Executes a command once for each row of values."""
        with self._lock, self._understood():
            self._database.executemany(command, rows)
