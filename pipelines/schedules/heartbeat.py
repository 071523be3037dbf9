"""Whether a scheduler is at work on a workspace: it holds a lock, and writes down every few seconds that it lives."""

import os
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pipelines.schedules.database import FILE, Database
from pipelines.schedules.launch import is_held

LOCK = "scheduler.lock"
EVERY = 5.0
"""Seconds between two heartbeats."""

STALE = timedelta(seconds=30)
"""A heartbeat as old as this says that the scheduler hangs, or cannot write."""


def beat(database: Database, now: datetime) -> None:
    """Writes down that this process is at work."""
    database.write(
        "INSERT INTO daemon VALUES (1, ?, ?, ?) ON CONFLICT (only) "
        "DO UPDATE SET process = excluded.process, host = excluded.host, heartbeat = excluded.heartbeat",
        os.getpid(),
        socket.gethostname(),
        now.isoformat(),
    )


def announce(database: Database, places: int) -> None:
    """Writes down how many runs the scheduler lets be at work at once."""
    database.write("INSERT OR REPLACE INTO places VALUES (1, ?)", places)


def places(database: Database) -> int | None:
    """Returns how many runs the last scheduler let be at work at once; None where there was none."""
    rows = database.read("SELECT runs FROM places")
    return rows[0]["runs"] if rows else None


def sign(lock: int) -> None:
    """Writes into the lock who holds it."""
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)


def holder(workspace: Path) -> str | None:
    """Returns the process that is the workspace's scheduler; None where there is none."""
    lock = workspace / LOCK
    return (
        (lock.read_text(encoding="utf-8", errors="replace") or "a process that just started") if is_held(lock) else None
    )


def last_beat(workspace: Path) -> datetime | None:
    """Returns when a scheduler of the workspace last wrote that it is at work."""
    if not (workspace / FILE).is_file():
        return None
    with Database(workspace) as database:
        rows = database.read("SELECT heartbeat FROM daemon")
    try:
        return datetime.fromisoformat(rows[0]["heartbeat"]) if rows else None
    except (TypeError, ValueError):  # damaged; a scheduler that is at work writes it anew
        return None


def trouble(workspace: Path) -> str | None:
    """Returns why no tick of a workspace would be run now, or None where a scheduler is well and at work."""
    process = holder(workspace)
    if process is None:
        return f"no scheduler is at work on {workspace}"
    beaten = last_beat(workspace)
    if beaten is None or abs(datetime.now(UTC) - beaten) > STALE:  # one of the future is from a clock that was ahead
        since = f"since {beaten:%Y-%m-%d %H:%M:%S} UTC" if beaten else "yet"
        return f"the scheduler of {workspace} ({process}) has not said {since} that it is at work"
    return None
