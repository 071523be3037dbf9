"""Runs that were killed, with their machine or their container: their end is written down by the next command."""

import json
import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from artifacts import DamagedError, lock
from components import databases, liveness
from pipelines.targets import ENDED
from pipelines.targets.local import killed
from pipelines.targets.local.record import EXPERIMENT, LOCK, Record, read
from pipelines.workspace import Workspace

logger = logging.getLogger("elboflow.run")


def end(workspace: Workspace) -> tuple[str, ...]:
    """Ends what is dead in a workspace: in the records of runs, and as KILLED in MLflow.

    Safe to repeat, also after a kill. A workspace that cannot be written to is left as it is.

    Returns:
        The names of the runs that it ended, in order.
    """
    ended: set[str] = set()
    with suppress(OSError, sqlite3.Error):
        if workspace.database.is_file():
            ended |= set(liveness.end_dead(workspace.database, lambda run: _is_over(workspace.runs / run)))
        for record in list(unsaid(workspace)):
            if _end(record, workspace):
                ended.add(record.run)
    if ended:
        logger.warning("found killed, and recorded as ended now: %s", ", ".join(sorted(ended)))
    return tuple(sorted(ended))


def unsaid(workspace: Workspace) -> Iterator[Record]:
    """Yields the records of runs whose processes are gone and did not say how they ended."""
    for folder in sorted(workspace.runs.iterdir()) if workspace.runs.is_dir() else ():
        record = _read(folder)
        if record is None or record.run != folder.name:
            continue
        if record.status not in ENDED and record.is_over(folder):
            yield record


def _end(record: Record, workspace: Workspace) -> bool:
    folder = workspace.runs / record.run
    held = lock.hold(folder / LOCK)
    if held is None:
        return False
    try:
        record = _read(folder) or record  # it may have ended since it was read
        if record.status in ENDED:
            return False
        over = record.ended_with_its_process(folder)
        _tell_mlflow(over, workspace)
        over.write(workspace.runs)
        return True
    finally:
        os.close(held)


def _tell_mlflow(record: Record, workspace: Workspace) -> None:
    """Lets a process apart write the end of a run, unless it was written above."""
    experiment = _experiment(workspace.runs / record.run)
    if experiment is None:
        return  # a run of an older version
    place = record.tracking_uri or workspace.tracking_uri
    database = databases.file_of(place)
    if database == workspace.database and database.is_file() and liveness.has_run(database, record.run):
        return
    killed.begin(record, experiment, workspace, place)


def _experiment(folder: Path) -> dict[str, Any] | None:
    try:
        found = json.loads((folder / EXPERIMENT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _is_over(folder: Path) -> bool:
    record = _read(folder)
    return record is not None and record.is_over(folder)


def _read(folder: Path) -> Record | None:
    try:
        return read(folder)
    except DamagedError:  # `elboflow runs` says so
        return None
