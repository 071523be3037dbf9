"""Checks before a run of what MLflow would refuse at its end, where that is cheap: in a SQLite file, and of names."""

import re
import sqlite3
from contextlib import closing
from pathlib import Path

from components.surroundings.masking import masked
from components.tracking import databases
from components.tracking.limits import LONGEST_RUN_NAME
from elboflow.settings import RequestError, WorkError

_PATIENCE = 20.0  # seconds to wait for another process that writes: as MLflow
_UNREADABLE = re.compile(r"[\x00-\x1f\x7f]")


def check(tracking_uri: str, experiment: str) -> None:
    """Looks whether a run of an experiment can be recorded; a server is not asked.

    Args:
        tracking_uri: The MLflow that is to hold the run.
        experiment: Name of the MLflow experiment.

    Raises:
        RequestError: The experiment was deleted in MLflow.
        WorkError: The database is damaged.
    """
    database = databases.file_of(tracking_uri)
    if database is None or not database.is_file():
        return
    try:
        found = deleted(database, experiment)
    except sqlite3.Error as error:
        raise WorkError(
            f"MLflow's database {database} cannot be read: {error}; put it away, and its backup in its place if there "
            "is one: without it, the next run makes a new one"
        ) from None
    if found is not None:
        raise RequestError(was_deleted(experiment, found, tracking_uri))


def check_run_name(run: str) -> None:
    """Raises RequestError where MLflow does not take the name of a run, or does not find a run by it."""
    wrong = None
    if not run.strip():
        wrong = "is empty"
    elif len(run) > LONGEST_RUN_NAME:
        wrong = f"has {len(run):,} characters, at most {LONGEST_RUN_NAME} are allowed"
    elif _UNREADABLE.search(run):
        wrong = "holds control characters"
    elif "'" in run and '"' in run:
        wrong = "holds both kinds of quotation marks; names in MLflow may hold one kind"
    if wrong is not None:
        raise RequestError(f"--run: the name {run[:60]!r} {wrong}")


def deleted(database: Path, experiment: str) -> str | None:
    """Returns the id of an experiment that was deleted in a SQLite file; None where it was not, or never was.

    Raises:
        sqlite3.Error: The file is damaged.
    """
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=_PATIENCE)) as connection:
        query = "SELECT experiment_id FROM experiments WHERE name = ? AND lifecycle_stage = 'deleted'"
        found = connection.execute(query, (experiment,)).fetchone()
    return None if found is None else str(found[0])


def was_deleted(experiment: str, experiment_id: str, tracking_uri: str) -> str:
    """Returns what to tell of an experiment that was deleted in MLflow."""
    return (
        f"the experiment {experiment!r} was deleted in the MLflow at {masked(tracking_uri)}; give it another name, or "
        f"restore it: mlflow experiments restore --experiment-id {experiment_id}"
    )
