"""MLflow's tracking store: a server by its URL, or a SQLite file with its artifacts beside it.

A workspace holds the second kind:

    mlflow.db         runs, versions, aliases
    mlartifacts/      their files
"""

import contextlib
import errno
import logging
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from components.surroundings import servers
from components.surroundings.masking import masked
from components.tracking import databases, platform_runs, preflight, relocation, timeouts
from elboflow.artifacts import lock
from elboflow.settings import RequestError, WorkError

if TYPE_CHECKING:
    from mlflow import MlflowClient

_VARIABLE = "MLFLOW_TRACKING_URI"
_switching = threading.Lock()
# What the UI shows of an experiment first: training runs and their curves, rather than traces of a language model.
_TRAINS_MODELS = {"mlflow.experimentKind": "custom_model_development"}


def connect(tracking_uri: str) -> "MlflowClient":
    """Returns a client of an MLflow, and makes it the default MLflow of this process.

    A SQLite file that does not exist yet is made. That takes about two seconds, for MLflow's whole history of
    migrations; a caller with something else to wait for can call this earlier, in a separate process. One whose
    folder was moved or copied is mended first (`relocation`).

    Raises:
        RequestError: The folder of a SQLite file cannot be written to.
        WorkError: MLflow cannot be reached, or its database is damaged or of another version.
    """
    set_up()
    database = databases.file_of(tracking_uri)
    if database is None:
        timeouts.bound(tracking_uri)
    with explained(tracking_uri), _locked(database, "database") if database else contextlib.nullcontext():
        if database is not None:
            if not database.exists():
                _make(database)
            relocation.mend(database)
            tracking_uri = databases.normal(tracking_uri)
        return use(tracking_uri)


def use(tracking_uri: str) -> "MlflowClient":
    """Returns a client of an existing MLflow, and makes it the default MLflow of this process."""
    set_up()
    platform_runs.leave_apart(tracking_uri)
    import mlflow

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    # Parts of MlflowClient, and everything that resolves models:/ and runs:/, look at the process's own setting. MLflow
    # also writes it into the environment, where it would name the MLflow of the next command.
    with _switching:  # two threads at once would restore what the other has written
        before = os.environ.get(_VARIABLE)
        mlflow.set_tracking_uri(tracking_uri)
        mlflow.set_registry_uri(tracking_uri)
        if before is None:
            os.environ.pop(_VARIABLE, None)
        else:
            os.environ[_VARIABLE] = before
    client = mlflow.MlflowClient()
    client.search_experiments(max_results=1)
    return client


def set_up() -> None:
    """Sets what MLflow reads from the environment. A thread may not do it while C++ code reads the environment."""
    # No pickle is ever loaded from a registry, and telemetry is off.
    if os.environ.get("MLFLOW_ALLOW_PICKLE_DESERIALIZATION") != "false":
        os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    # Standard output carries results only: no links, no progress bars.
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")


@contextlib.contextmanager
def creating_runs(tracking_uri: str) -> Iterator[None]:
    """Locks finding and creating runs in a SQLite file, so that two processes do not create the same run twice."""
    database = databases.file_of(tracking_uri)
    with _locked(database, "runs") if database else contextlib.nullcontext():
        yield


def registration_lock(tracking_uri: str) -> Path | None:
    """Returns the file that is locked while a process registers (`exclusive`); None for a server."""
    database = databases.file_of(tracking_uri)
    return None if database is None else _lock(database, "registration")


@contextlib.contextmanager
def exclusive(tracking_uri: str) -> Iterator[None]:
    """Locks registration in a SQLite file: one process of this machine at a time.

    Two runs that end together would otherwise both beat the same champion, and the alias would go to the slower one
    instead of the better one. A kill releases the lock. A server of several machines has no such lock.
    """
    database = databases.file_of(tracking_uri)
    with _locked(database, "registration") if database else contextlib.nullcontext():
        yield


def mended(tracking_uri: str) -> relocation.Mended | None:
    """Lets the locations in a workspace's MLflow follow it, without importing MLflow; see `relocation`.

    Raises:
        RequestError: The folder of the SQLite file cannot be written to.
        WorkError: The database cannot be used.
    """
    database = databases.file_of(tracking_uri)
    if database is None or not database.is_file():
        return None
    with _locked(database, "database"):
        try:
            return relocation.mend(database)
        except sqlite3.Error as error:
            raise WorkError(f"MLflow's database {database} cannot be used: {error}") from None


def experiment_id(client: "MlflowClient", tracking_uri: str, name: str) -> str:
    """Returns the id of the MLflow experiment of a name, which is made where there is none.

    Where Kubeflow makes runs in this MLflow, it is that of its runs (`platform_runs`).

    Raises:
        RequestError: The experiment was deleted in MLflow.
    """
    if (given := platform_runs.within(tracking_uri)) is not None:
        return given.experiment_id
    return named_experiment(client, tracking_uri, name)


def named_experiment(client: "MlflowClient", tracking_uri: str, name: str) -> str:
    """Returns the id of the MLflow experiment of a name, which is made where there is none; also in Kubeflow's pods.

    Raises:
        RequestError: The experiment was deleted in MLflow.
    """
    from mlflow import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        database = databases.file_of(tracking_uri)
        location = (database.parent / relocation.ARTIFACTS / quote(name, safe="")).as_uri() if database else None
        try:
            return client.create_experiment(name, location, tags=_TRAINS_MODELS)
        except MlflowException:  # another process may have been quicker
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    if found.lifecycle_stage == "deleted":
        raise RequestError(preflight.was_deleted(name, found.experiment_id, tracking_uri))
    return found.experiment_id


def experiments_with(client: "MlflowClient", tracking_uri: str, name: str) -> list[str]:
    """Returns the ids of the MLflow experiments that hold runs of an experiment: first that of its new runs.

    Where Kubeflow makes runs in this MLflow, further ones may be from before. None is made.
    """
    given, found = platform_runs.within(tracking_uri), client.get_experiment_by_name(name)
    if given is not None:
        return list(dict.fromkeys([given.experiment_id, *([] if found is None else [found.experiment_id])]))
    return [] if found is None else [experiment_id(client, tracking_uri, name)]


def quoted(value: str) -> str:
    """Returns a string as MLflow's search filters take it."""
    if "'" not in value:
        return f"'{value}'"
    if '"' not in value:
        return f'"{value}"'
    raise RequestError(f"{value!r} holds both kinds of quotation marks; names in MLflow may hold one kind")


def _make(database: Path) -> None:
    """Makes a SQLite file under a temporary name and renames it: a kill leaves no half-migrated database."""
    import mlflow

    draft = database.with_name(f".{database.name}.new")
    for left_by_a_kill in (draft, draft.with_name(f"{draft.name}-journal")):
        left_by_a_kill.unlink(missing_ok=True)
    mlflow.MlflowClient(tracking_uri=databases.uri_of(draft)).search_experiments(max_results=1)
    draft.replace(database)


def _lock(database: Path, purpose: str) -> Path:
    return database.with_name(f".{database.name}.{purpose}.lock")


@contextlib.contextmanager
def _locked(database: Path, purpose: str) -> Iterator[None]:
    path = _lock(database, purpose)
    with contextlib.ExitStack() as held:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            held.enter_context(lock.locked(path))
        except OSError as error:
            raise RequestError(f"cannot write MLflow's database to {database}: {error.strerror}") from None
        yield


@contextlib.contextmanager
def explained(tracking_uri: str) -> Iterator[None]:
    """Turns the errors of MLflow, of its database and of the network and the disk below into a WorkError."""
    from mlflow import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, sqlite3.Error, OSError) as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            reason = "no space is left on the disk" + (
                f": {file}" if (file := error.filename2 or error.filename) else ""
            )
        else:
            reason = servers.reason(error)
        raise WorkError(masked(f"cannot use the MLflow at {tracking_uri}: {reason}")) from error
