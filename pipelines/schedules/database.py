"""`schedules.db`: plain SQLite tables, which the scheduler, the processes of ticks and commands write concurrently.

A transaction takes SQLite's write lock at its beginning, so that what it has read still holds when it writes.
"""

import os
import shlex
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from elboflow.settings import RequestError, WorkError
from pipelines.schedules import schema

FILE = "schedules.db"
FOLDER = "schedules"
"""The folder of the ticks' folders, beside the database."""

_PATIENCE = 30.0
"""Seconds to wait for the write lock."""

_MADE = 2.0
"""Seconds in which another process that creates the file has written its first page."""

_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class Database:
    """An open `schedules.db`, created if need be. A file without write permission is opened read-only.

    Threads may use it one after another, not at once.

    Raises:
        RequestError: It was written by a newer version of ELBOflow, or is another program's.
        WorkError: It cannot be opened, or is damaged. It is left as it is.
    """

    def __init__(self, workspace: Path) -> None:
        self.path = workspace / FILE
        self.workspace = workspace.resolve()
        self._refuse_lost()
        self._file: os.stat_result | None = None
        with self._understood():
            self._database = self._connected() if _is_writable(self.path) else self._copy()
            self._database.row_factory = sqlite3.Row
            self._database.text_factory = _text
        try:
            with self._understood():
                self._open()
        except BaseException:
            self._database.close()
            raise

    def _connected(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False)

    def _copy(self) -> sqlite3.Connection:
        """Returns a copy in memory of a read-only database, with the tables of this version."""
        copy = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        source = _read_only(self.path)
        try:
            source.backup(copy)
        finally:
            source.close()
        if 0 < schema.version(copy) < schema.VERSION:
            schema.upgrade(copy, self.workspace)
        copy.execute("PRAGMA query_only = ON")
        return copy

    def _open(self) -> None:
        if (version := schema.version(self._database)) > schema.VERSION:
            raise RequestError(
                f"{self.path} was written by a newer version of ELBOflow: its format is {version}, and this one "
                f"reads up to {schema.VERSION}; install that version again"
            )
        if schema.is_foreign(self._database):
            raise RequestError(f"{self.path} is a database of another program; choose another --workspace, or move it")
        if not self.is_read_only:
            self._use_wal()
            # FULL: the record of a launched tick must survive a power failure.
            self._database.execute("PRAGMA synchronous = FULL")
            self._database.execute("PRAGMA foreign_keys = ON")
            if version < schema.VERSION:
                with self.transaction():  # if another process was faster, no upgrade is left to do
                    schema.upgrade(self._database, self.workspace)
        self._file = _stat(self.path)
        if lacking := schema.lacking(self._database):
            raise WorkError(self._damaged(f"it lacks {', '.join(lacking[:5])}"))

    @property
    def is_read_only(self) -> bool:
        """Whether writes are refused."""
        return bool(self._database.execute("PRAGMA query_only").fetchone()[0])

    def is_replaced(self) -> bool:
        """Returns whether another file has taken its place: writes to the open one would be lost."""
        now = _stat(self.path)
        return now is None or self._file is None or not os.path.samestat(now, self._file)

    def _refuse_lost(self) -> None:
        """Refuses an empty file where there were schedules: for SQLite, it is a new database."""
        logs = self.path.with_name(FOLDER)
        if _has_logs(logs) and _is_empty(self.path):
            raise WorkError(self._damaged(f"it is empty, and {logs} holds the logs of its schedules"))

    def _use_wal(self) -> None:
        """Lets readers read during a write. Retries, as SQLite does not where several processes open a new file."""
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
            is_damage = getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGE  # the lowest byte is the kind
            said = self._damaged(str(error)) if is_damage else f"{self.path} cannot be used: {error}"
            raise WorkError(said) from None
        except UnicodeDecodeError:  # SQLite's own message repeats a name from the damaged schema
            raise WorkError(self._damaged("a name in its schema is no text")) from None

    def _damaged(self, reason: str) -> str:
        away = self.path.with_name(f"{FILE}.damaged")
        return (
            f"{self.path} is damaged ({reason}), and was left as it is; put a backup in its place, or move it away "
            f"and make the schedules anew: mv {shlex.quote(str(self.path))} {shlex.quote(str(away))}"
        )

    def damage(self) -> str | None:
        """Returns what SQLite's check of every page finds; None where all is well."""
        try:
            found = str(self.read("PRAGMA quick_check(1)")[0][0])
        except WorkError as error:
            return str(error)
        return None if found == "ok" else self._damaged(" ".join(found.split()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes it."""
        self._database.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Runs the block in one transaction, isolated from the writes of other processes."""
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
        with self._understood():
            return self._database.execute(query, values).fetchall()

    def write(self, command: str, *values: Any) -> int:
        """Executes a command and returns how many rows it changed."""
        with self._understood():
            return self._database.execute(command, values).rowcount

    def write_all(self, command: str, rows: Iterable[Sequence[Any]]) -> None:
        """Executes a command once for each row of values."""
        with self._understood():
            self._database.executemany(command, rows)


def blank(workspace: Path) -> str | None:
    """Returns why an empty file, which may have held schedules, is empty; None where there is no such file.

    Opening it creates a new database.
    """
    if _has_logs(workspace / FOLDER) or not _is_empty(workspace / FILE):
        return None
    return "it is empty: a command was killed as it first made it, or a fault of the disk took the schedules in it"


def _has_logs(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


def _is_empty(path: Path) -> bool:
    """Returns whether a file is empty and stays so: another process may be creating the database."""
    deadline = time.monotonic() + _MADE
    while (found := _stat(path)) is not None and not found.st_size:
        if time.monotonic() > deadline:
            return True
        time.sleep(0.05)
    return False


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


def _is_writable(path: Path) -> bool:
    # SQLite creates files beside a database.
    return os.access(path.parent, os.W_OK) and (not path.exists() or os.access(path, os.W_OK))


def _read_only(path: Path) -> sqlite3.Connection:
    """Opens a database read-only. In a folder without write permission, it is taken for immutable."""
    for how in ("mode=ro", "immutable=1"):
        database = sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True)
        try:
            schema.version(database)
            return database
        except sqlite3.OperationalError:
            database.close()
            if how == "immutable=1":
                raise
    raise AssertionError


def _text(raw: bytes) -> str | bytes:
    """Returns text; damaged text stays bytes, so that only its row is unreadable."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw
