"""The checks of local runs: the data, and the workspace's MLflow with its champions."""

import shlex
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from urllib.parse import unquote, urlsplit

from components.registry import versions, webhooks
from components.registry.champion import CHAMPION
from components.tracking import databases, preflight, relocation, store
from elboflow.settings import RequestError, WorkError
from elboflow.settings.text import counted
from elboflow.vae import folder, keras_file
from pipelines.experiment import Experiment
from pipelines.targets.checks import SECONDS, Check, Finding, data_check, server_check
from pipelines.targets.local import dead
from pipelines.targets.local.surroundings import tracking_uri
from pipelines.workspace import Workspace

_CHAMPIONS = """
SELECT aliases.name, aliases.version, versions.storage_location FROM registered_model_aliases AS aliases
JOIN model_versions AS versions ON versions.name = aliases.name AND versions.version = aliases.version
WHERE aliases.alias = ? AND versions.storage_location LIKE 'file:///%' ORDER BY aliases.name
"""


def checks(experiment: Experiment | None, workspace: Workspace) -> list[Check]:
    """Returns the checks for local runs, of an experiment if one is given."""
    named = tracking_uri(experiment, workspace)
    database = databases.file_of(named)
    name = experiment.name if experiment else None
    return [
        *([data_check(experiment, "local")] if experiment else []),
        Check("MLflow", lambda: local_mlflow(database, workspace, name), 20) if database else server_check(named),
    ]


def local_mlflow(database: Path, workspace: Workspace, experiment: str | None) -> list[Finding]:
    """Checks an MLflow that is a SQLite file, and its champions; mends what any command would remedy: a workspace that
    was moved, and runs that were killed.
    """
    if not database.is_file():
        return [Finding("MLflow", "ok", f"{version('mlflow')}; the first run makes {database}")]
    try:
        with _reading(database) as connection:
            (damage,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            (runs,) = connection.execute("SELECT count(*) FROM runs").fetchone()
        gone = preflight.deleted(database, experiment) if experiment else None
        silent = [webhook.name for webhook in webhooks.of_database(database, SECONDS) if webhook.active]
        before = relocation.moved_from(database)
    except sqlite3.Error as error:
        damage = str(error)
    if damage != "ok":
        remedy = (
            "put it away, and its backup in its place if there is one: without it, the next run makes a new one; or, "
            f"after an upgrade, run: mlflow db upgrade {shlex.quote(databases.uri_of(database))}"
        )
        return [Finding("MLflow", "problem", f"{database} cannot be read: {damage}", remedy)]
    problems = []
    if gone is not None:
        remedy = f"name it otherwise, or restore it: mlflow experiments restore --experiment-id {gone}"
        problems.append(Finding("MLflow", "problem", f"the experiment {experiment!r} was deleted there", remedy))
    if before:
        problems.append(_moved(database, before))
    if killed := dead.end(workspace):
        remedy = "they are recorded as ended now, in MLflow as KILLED; run them again"
        problems.append(
            Finding("runs", "problem", f"killed, with their machine or container: {', '.join(killed)}", remedy)
        )
    if silent:
        found = f"{', '.join(silent)} will not fire: only a server sends them, and runs write into {database.name} here"
        remedy = "serve it (mlflow server --backend-store-uri …), and name the server by --tracking-uri"
        problems.append(Finding("webhooks", "problem", found, remedy))
    problems += unusable_champions(database)
    return problems or [Finding("MLflow", "ok", f"{version('mlflow')}; {counted(runs, 'run')} in {database.name}")]


def _reading(database: Path) -> "closing[sqlite3.Connection]":
    return closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=SECONDS))


def _moved(database: Path, before: tuple[str, ...]) -> Finding:
    found = f"the workspace was moved or copied: {database.name} says that its files are in {' and '.join(before)}"
    try:
        mended = store.mended(databases.uri_of(database))
    except (RequestError, WorkError) as error:
        return Finding("MLflow", "problem", found, f"give yourself the right to write there, and look again: {error}")
    count = 0 if mended is None else mended.locations
    return Finding("MLflow", "problem", found, f"{counted(count, 'location')} of files point here now; look again")


def unusable_champions(database: Path) -> Iterator[Finding]:
    """Yields the champions whose files are absent or damaged, or of a format that this version does not read."""
    with _reading(database) as connection:
        champions = connection.execute(_CHAMPIONS, (CHAMPION,)).fetchall()
    for name, number, location in champions:
        uri = f"models:/{name}/{number}"
        try:
            champion = folder.load(versions.model_folder_in(Path(unquote(urlsplit(location).path)), uri))
            keras_file.check(champion.path / folder.MODEL, champion.config, champion.specs, champion.parameters)
        except (RequestError, WorkError) as error:
            remedy = (
                f"restore its files, use the version of ELBOflow that wrote it, or set the alias {CHAMPION!r} to "
                "another version in the MLflow UI: no newcomer can be compared with it"
            )
            yield Finding(f"champion {uri}", "problem", f"cannot be used: {error}", remedy)
