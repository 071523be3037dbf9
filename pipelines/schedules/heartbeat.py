"""How others know that the scheduler of a workspace is at work: its lock, and its heartbeat in the database."""

import os
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

from elboflow.artifacts.lock import is_held
from pipelines.schedules.database import FILE, Database

LOCK = "scheduler.lock"
EVERY = 5.0
"""Seconds between two heartbeats."""

STALE = timedelta(seconds=30)
"""The age of a heartbeat after which the scheduler hangs, or cannot write."""


def beat(database: Database, now: datetime) -> None:
    """Writes a heartbeat of this process."""
    database.write(
        "INSERT OR REPLACE INTO daemon VALUES (1, ?, ?, ?)", os.getpid(), socket.gethostname(), now.isoformat()
    )


def announce(database: Database, slots: int) -> None:
    """Writes how many runs the scheduler allows at once."""
    database.write("INSERT OR REPLACE INTO places VALUES (1, ?)", slots)


def places(database: Database) -> int | None:
    """Returns how many runs the last scheduler allowed at once; None where there was none."""
    rows = database.read("SELECT runs FROM places")
    return rows[0]["runs"] if rows else None


def sign(lock: int) -> None:
    """Writes into the lock's file which process holds it."""
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)


def holder(workspace: Path) -> str | None:
    """Returns the process that is the workspace's scheduler; None where there is none."""
    lock = workspace / LOCK
    if not is_held(lock):
        return None
    return lock.read_text(encoding="utf-8", errors="replace") or "a process that just started"


def _last_beat(workspace: Path) -> datetime | None:
    if not (workspace / FILE).is_file():
        return None
    with Database(workspace) as database:
        rows = database.read("SELECT heartbeat FROM daemon")
    try:
        return datetime.fromisoformat(rows[0]["heartbeat"]) if rows else None
    except (TypeError, ValueError):  # damaged; a running scheduler replaces it
        return None


def trouble(workspace: Path) -> str | None:
    """Returns why no tick of a workspace would run now, or None where a scheduler is running well."""
    process = holder(workspace)
    if process is None:
        return f"no scheduler is at work on {workspace}"
    beaten = _last_beat(workspace)
    if beaten is None or abs(datetime.now(UTC) - beaten) > STALE:  # one in the future is from a clock that was ahead
        since = f"since {beaten:%Y-%m-%d %H:%M:%S} UTC" if beaten else "yet"
        return f"the scheduler of {workspace} ({process}) has not said {since} that it is at work"
    return None
