"""MLflow: whether it answers, in a version that the installed client speaks."""

import shlex
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

from components.surroundings import servers
from components.surroundings.masking import masked
from components.tracking import databases, preflight, relocation, store
from elboflow.settings import RequestError, WorkError
from elboflow.settings.text import counted
from pipelines.doctor import PATIENCE, Finding, champions
from pipelines.targets.local import dead
from pipelines.workspace import Workspace


def local(database: Path, workspace: Workspace, experiment: str | None) -> Iterator[Finding]:
    """Looks at an MLflow that is a SQLite file, and mends what any command would mend: a workspace that was moved, and
    runs that were killed. A champion that cannot be used is said.

    Args:
        database: The file.
        workspace: The workspace, whose own it usually is.
        experiment: The name of the experiment that is to run, if it is known.
    """
    what = "MLflow"
    if not database.is_file():
        yield Finding(what, "well", f"{version('mlflow')}; the first run makes {database}")
        return
    try:
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=PATIENCE)) as connection:
            (damage,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            (runs,) = connection.execute("SELECT count(*) FROM runs").fetchone()
        gone = preflight.deleted(database, experiment) if experiment else None
        before = relocation.moved_from(database)
    except sqlite3.Error as error:
        damage = str(error)
    if damage != "ok":
        mend = (
            "put it away, and its backup in its place if there is one: without it, the next run makes a new one; or, "
            f"after an upgrade, run: mlflow db upgrade {shlex.quote(databases.uri_of(database))}"
        )
        yield Finding(what, "ill", f"{database} cannot be read: {damage}", mend)
        return
    ill = False
    if gone is not None:
        ill, mend = True, f"name it otherwise, or restore it: mlflow experiments restore --experiment-id {gone}"
        yield Finding(what, "ill", f"the experiment {experiment!r} was deleted there", mend)
    if before:
        ill = True
        yield _moved(database, before)
    if dead_runs := dead.end(workspace):
        ill, mend = True, "they are recorded as ended now, in MLflow as KILLED; run them again"
        yield Finding("runs", "ill", f"killed, with their machine or container: {', '.join(dead_runs)}", mend)
    for finding in champions.unusable(database):
        ill = True
        yield finding
    if not ill:
        yield Finding(what, "well", f"{version('mlflow')}; {counted(runs, 'run')} in {database.name}")


def _moved(database: Path, before: tuple[str, ...]) -> Finding:
    found = f"the workspace was moved or copied: {database.name} says that its files are in {' and '.join(before)}"
    try:
        mended = store.mended(databases.uri_of(database))
    except (RequestError, WorkError) as error:
        return Finding("MLflow", "ill", found, f"give yourself the right to write there, and look again: {error}")
    count = 0 if mended is None else mended.locations
    return Finding("MLflow", "ill", found, f"{counted(count, 'location')} of files point here now; look again")


def server(uri: str) -> Finding:
    """Looks at an MLflow server, as seen from here."""
    import requests

    what, ours = f"MLflow {masked(uri)}", version("mlflow")
    try:
        answer = preflight.version_of(uri, PATIENCE)
    except (requests.RequestException, servers.NoAnswerError) as error:
        mend = "look at the address, and at the network between; the steps must reach it, too"
        return Finding(what, "ill", f"cannot be reached from here: {servers.short(error)}", mend)
    if answer.status_code in (401, 403):
        mend = "set MLFLOW_TRACKING_USERNAME and _PASSWORD, or MLFLOW_TRACKING_TOKEN; give them to steps as `secrets`"
        return Finding(what, "ill", f"refuses the credentials ({answer.status_code})", mend)
    theirs = answer.text.strip()
    if answer.status_code != 200 or not theirs[:1].isdigit() or len(theirs) > 40:
        return Finding(what, "ill", f"is no MLflow: it answers {answer.status_code}", "look at the address")
    if theirs.split(".")[0] != ours.split(".")[0]:
        mend = f"serve MLflow {ours.split('.')[0]}, or install `mlflow=={theirs}` here and in the images"
        return Finding(what, "ill", f"is {theirs}; the client here is {ours}", mend)
    return Finding(what, "well", f"answers; {theirs}, the client here {ours}")
