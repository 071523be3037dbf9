"""Runs that MLflow calls RUNNING though their process is gone, as after a kill or a power failure.

A run names, in its tag `elboflow.at_work`, a file that its process holds locked as long as it is there. The system
releases the lock however the process ends, and shows it to every container of the machine. The path is relative to the
database's folder where the file is below it: it stays right when the workspace is moved, and a copy has no lock.
"""

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from components.tracking import databases, notes, tags
from elboflow.artifacts import lock
from elboflow.settings import variables

AT_WORK = "elboflow.at_work"
GONE = "its process is gone"
_PATIENCE = 20.0  # seconds to wait for another process that writes: as MLflow


def tag(tracking_uri: str, held: Path | None = None) -> dict[str, str]:
    """Returns the tag of an MLflow run that is at work as long as a file is locked; none on a server.

    Args:
        tracking_uri: The MLflow.
        held: The locked file, where this process is no step of a pipeline run.
    """
    named = os.environ.get(variables.AT_WORK)
    held = Path(named) if named else held
    database = databases.file_of(tracking_uri)
    if held is None or database is None:
        return {}
    held = held.absolute()
    inside = held.is_relative_to(database.parent)
    return {AT_WORK: str(held.relative_to(database.parent) if inside else held)}


def end_dead(database: Path, has_ended: Callable[[str], bool]) -> tuple[str, ...]:
    """Marks the dead runs of a SQLite file as KILLED, without importing MLflow.

    Args:
        database: MLflow's SQLite file.
        has_ended: Whether a pipeline run is over, by its name: for runs of older versions, which name no file.

    Returns:
        The names of those runs.

    Raises:
        sqlite3.Error: The file cannot be written to, or is damaged.
    """
    with closing(sqlite3.connect(database, timeout=_PATIENCE, isolation_level=None)) as connection:
        found = list(_dead(connection, database.parent, has_ended))
        if found:
            connection.execute("BEGIN IMMEDIATE")
            for run_id, _, ended in found:
                killed = "UPDATE runs SET status = 'KILLED', end_time = ? WHERE run_uuid = ? AND status = 'RUNNING'"
                if connection.execute(killed, (ended, run_id)).rowcount:
                    _explain(connection, run_id)
            connection.execute("COMMIT")
    return tuple(name for _, name, _ in found)


def _explain(connection: sqlite3.Connection, run_id: str) -> None:
    """Writes why a run was killed, and how to go on with a pipeline run."""
    query = "SELECT key, value FROM tags WHERE run_uuid = ? AND key IN (?, ?)"
    has = dict(connection.execute(query, (run_id, tags.RUN, notes.NOTE)).fetchall())
    new: dict[str, str | None] = {tags.FAILURE: GONE}
    run = has.get(tags.RUN, "/")
    if "/" not in run:  # no trial, and no training by hand
        new[notes.NOTE] = notes.replacement(has.get(notes.NOTE), notes.of_failure(run, "killed", None, GONE, None))
    rows = [(name, value, run_id) for name, value in new.items() if value is not None]
    connection.executemany("INSERT OR REPLACE INTO tags (key, value, run_uuid) VALUES (?, ?, ?)", rows)


def has_run(database: Path, run: str) -> bool:
    """Returns whether a SQLite file holds the MLflow run of a pipeline run."""
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=_PATIENCE)) as connection:
        query = "SELECT 1 FROM tags WHERE key = ? AND value = ? LIMIT 1"
        return connection.execute(query, (tags.RUN, run)).fetchone() is not None


def last_sign(folder: Path) -> float:
    """Returns when something was last written into a run's folder, in seconds since 1970."""
    moments = [time.time()] if not folder.is_dir() else []
    for path in [*folder.glob("*"), *folder.glob("*/*")]:
        try:
            moments.append(path.stat().st_mtime)
        except OSError:
            continue
    return max(moments, default=time.time())


def _dead(
    connection: sqlite3.Connection, folder: Path, has_ended: Callable[[str], bool]
) -> Iterator[tuple[str, str, int]]:
    """Yields the ids and names of dead runs, and when they gave a last sign, in milliseconds."""
    query = """
        SELECT runs.run_uuid, runs.name, named.value, held.value FROM runs
        LEFT JOIN tags AS named ON named.run_uuid = runs.run_uuid AND named.key = ?
        LEFT JOIN tags AS held ON held.run_uuid = runs.run_uuid AND held.key = ?
        WHERE runs.status = 'RUNNING'"""
    for run_id, name, run, held in connection.execute(query, (tags.RUN, AT_WORK)).fetchall():
        if held is not None:
            place = folder / held
            if (Path(held).is_absolute() and not place.parent.is_dir()) or lock.is_held(place):
                continue  # it is at work; or its folder is on another machine, or in another container
        elif run is None or not has_ended(run.partition("/")[0]):  # a trial is called RUN/DIGEST
            continue
        place = folder / held if held is not None else folder / "runs" / run.partition("/")[0] / "run.json"
        yield run_id, run or name, round(1000 * last_sign(place.parent))
