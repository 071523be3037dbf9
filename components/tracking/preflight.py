"""Checks before a run of what MLflow would refuse at its end, without importing MLflow: of its address and of names."""

import os
import re
import socket
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from components.surroundings import servers
from components.surroundings.masking import masked
from components.tracking import databases, iap
from components.tracking.limits import LONGEST_RUN_NAME
from elboflow.settings import RequestError, WorkError

if TYPE_CHECKING:
    import requests

ANSWER_SECONDS = 10.0
"""The longest that a server has to answer before a run."""

_WORKSPACE = "MLFLOW_WORKSPACE"
_PATIENCE = 20.0  # seconds to wait for another process that writes: as MLflow
_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
_UNREADABLE = re.compile(r"[\x00-\x1f\x7f]")


def check(tracking_uri: str, experiment: str) -> None:
    """Looks whether a run of an experiment can be recorded.

    Args:
        tracking_uri: The MLflow that is to hold the run.
        experiment: Name of the MLflow experiment.

    Raises:
        RequestError: The server does not answer within `ANSWER_SECONDS`, or refuses the credentials; or the experiment
            was deleted in a SQLite file.
        WorkError: The database is damaged.
    """
    database = databases.file_of(tracking_uri)
    if database is None:
        _check_answers(tracking_uri)
        return
    if not database.is_file():
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


def version_of(server: str, seconds: float) -> "requests.Response":
    """Returns what an MLflow server says when it is asked for its version; as `asked`."""
    return asked(server, "version", seconds, workspace=None)


def workspace_refused(server: str, seconds: float) -> str | None:
    """Returns what is wrong with the workspace that MLFLOW_WORKSPACE names; None where the server gives it.

    Raises:
        requests.RequestException, servers.NoAnswerError: It does not answer within those seconds.
    """
    workspace = os.environ.get(_WORKSPACE)
    if not workspace:
        return None
    status = asked(server, "api/2.0/mlflow/experiments/search?max_results=1", seconds, workspace).status_code
    return None if status < 400 else f"does not give the workspace {workspace!r}, which {_WORKSPACE} names ({status})"


def asked(server: str, path: str, seconds: float, workspace: str | None) -> "requests.Response":
    """Returns an MLflow server's answer, with the credentials of the environment.

    Args:
        server: The address of the server.
        path: What is asked for.
        seconds: How long it has to answer.
        workspace: Of which of its workspaces; None for none, or the default one.

    Raises:
        requests.RequestException, servers.NoAnswerError: It does not answer within those seconds.
    """
    import requests

    servers.watch()
    servers.introduce(server, f"the MLflow at {masked(server)}", seconds)
    token, name, password = (os.environ.get(f"MLFLOW_TRACKING_{part}") for part in ("TOKEN", "USERNAME", "PASSWORD"))
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    headers |= {"X-MLFLOW-WORKSPACE": workspace} if workspace else {}
    auth = (name, password) if name and password else None
    return requests.get(f"{server.rstrip('/')}/{path}", headers=headers, auth=auth, timeout=seconds)


def _check_answers(tracking_uri: str) -> None:
    try:
        if not tracking_uri.startswith(("http://", "https://")):
            _check_connects(tracking_uri)
            return
        from requests import RequestException

        try:
            status = version_of(tracking_uri, ANSWER_SECONDS).status_code
            refused = workspace_refused(tracking_uri, ANSWER_SECONDS) if status == 200 else None
        except RequestException as error:
            raise OSError(servers.short(error)) from None
    except (OSError, servers.NoAnswerError) as error:
        raise RequestError(
            f"the MLflow at {masked(tracking_uri)} does not answer: {masked(servers.short(error))}; nothing was started"
        ) from None
    if status >= 500:
        raise RequestError(f"the MLflow at {masked(tracking_uri)} answers {status}; nothing was started")
    if status in (401, 403) and not iap.is_behind(tracking_uri):  # which wants a token that only MLflow's client has
        raise RequestError(
            f"the MLflow at {masked(tracking_uri)} refuses the credentials ({status}); set MLFLOW_TRACKING_USERNAME "
            "and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN; nothing was started"
        )
    if refused is not None:
        raise RequestError(f"the MLflow at {masked(tracking_uri)} {refused}; nothing was started")


def _check_connects(database: str) -> None:
    """Connects to the server of a database, such as PostgreSQL, and no more."""
    address = urlsplit(database)
    port = address.port or _PORTS.get(address.scheme.partition("+")[0])
    if address.hostname and port:
        socket.create_connection((address.hostname, port), ANSWER_SECONDS).close()


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
