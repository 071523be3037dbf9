"""Runs that were killed, with their machine or their container: their end is written down by the next command."""

import json
import logging
import os
import sqlite3
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from components.surroundings.masking import without_userinfo
from components.tracking import liveness
from elboflow.artifacts import DamagedError, lock
from pipelines.experiment import NOT_RECORDED
from pipelines.targets import ENDED
from pipelines.targets.local import artifacts, in_mlflow
from pipelines.targets.local.record import EXPERIMENT, GONE, LOCK, Record, read
from pipelines.targets.local.surroundings import TRACKING_URIS
from pipelines.workspace import Workspace

logger = logging.getLogger("elboflow.run")


def end(workspace: Workspace, tracking_uri: str | None = None) -> tuple[str, ...]:
    """Ends what is dead in a workspace: in the records of runs, and as KILLED in MLflow.

    Safe to repeat, also after a kill. A workspace that cannot be written to is left as it is.

    Args:
        tracking_uri: The MLflow of the experiment that is to run, if it is known. Another than the workspace's own is
            told only if it is that one, or that of this machine: a record that another user wrote may name any, and
            would get the credentials for it.

    Returns:
        The names of the runs that it ended, in order.
    """
    ended: set[str] = set()
    with suppress(OSError, sqlite3.Error):
        if workspace.database.is_file():
            ended |= set(liveness.end_dead(workspace.database, lambda run: _is_over(workspace.runs / run)))
    trusted = {without_userinfo(place): place for place in (tracking_uri, *map(os.environ.get, TRACKING_URIS)) if place}
    with suppress(OSError, sqlite3.Error):
        for folder in sorted(workspace.runs.iterdir()) if workspace.runs.is_dir() else ():
            record = _read(folder)
            if record is None or record.run != folder.name:
                continue
            if record.status not in ENDED and record.is_over(folder) and _end(record, workspace):
                ended.add(record.run)
                record = _read(folder) or record
            if record.reason == GONE and record.tracking_uri is not None:
                _tell_elsewhere(record, workspace, trusted.get(record.tracking_uri))
    if ended:
        logger.warning("found killed, and recorded as ended now: %s", ", ".join(sorted(ended)))
    return tuple(sorted(ended))


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
        for step in record.planned:
            artifacts.remove(folder / step)
        _tell_here(over, workspace)
        over.write(workspace.runs)
        return True
    finally:
        os.close(held)


def _tell_here(record: Record, workspace: Workspace) -> None:
    """Has a run that was killed before it was in the workspace's MLflow written there, by a process apart."""
    experiment = _experiment(workspace.runs / record.run)
    if experiment is None or record.tracking_uri is not None:
        return  # it is of an older version, or recorded elsewhere
    if not workspace.database.is_file() or not liveness.has_run(workspace.database, record.run):
        in_mlflow.end(record, experiment, workspace, workspace.tracking_uri)


def _tell_elsewhere(record: Record, workspace: Workspace, tracking_uri: str | None) -> None:
    """Has the end of a run written into another MLflow, by a process apart, and notes in its record that it was."""
    experiment = _experiment(workspace.runs / record.run)
    if tracking_uri is not None and experiment is not None:
        in_mlflow.end(record, experiment, workspace, tracking_uri)
        replace(record, tracking_uri=None).write(workspace.runs)


def _experiment(folder: Path) -> dict[str, Any] | None:
    try:
        found = json.loads((folder / EXPERIMENT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(found, dict):
        return None
    return {key: value for key, value in found.items() if key not in NOT_RECORDED}


def _is_over(folder: Path) -> bool:
    record = _read(folder)
    return record is not None and record.is_over(folder)


def _read(folder: Path) -> Record | None:
    try:
        return read(folder)
    except DamagedError:  # `elboflow runs` says so
        return None
