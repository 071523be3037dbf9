"""What of a workspace is still needed, and by whom."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from components.registry.cards import CHAMPION
from components.registry.champion import PROMOTED
from components.registry.decisions.history_run import EXPERIMENT as HISTORIES
from components.surroundings.masking import without_userinfo
from components.tracking import databases, tags
from elboflow.artifacts import DamagedError, read_json
from elboflow.settings import RequestError, WorkError
from pipelines.schedules.database import FILE as SCHEDULES
from pipelines.schedules.store import Store
from pipelines.targets.local import artifacts
from pipelines.targets.local.record import EXPERIMENT, Record, read
from pipelines.targets.local.surroundings import TRACKING_URIS
from pipelines.targets.local.sweep import state_of
from pipelines.workspace import Workspace

if TYPE_CHECKING:
    from mlflow import MlflowClient

_PATIENCE = 20.0  # seconds to wait for another process that writes: as MLflow


@dataclass(frozen=True)
class Versions:
    """The registered versions that are needed: those with an alias, and those that ever were the champion.

    A tag says which were promoted; the model's history run, also which had the alias `champion` by hand.

    Attributes:
        runs, datasets: Names and digests of what they were made by and from.
        unknown: The servers that could not be asked, whose runs are all needed therefore.
    """

    runs: frozenset[str]
    datasets: frozenset[str]
    unknown: frozenset[str] = frozenset()


def versions(workspace: Workspace, runs: "Runs") -> Versions:
    """Asks MLflow which versions are needed: the workspace's own, and the servers that its runs are recorded in.

    A server is asked that a variable of this machine names, or the experiment of a run, if this user wrote it: a file
    that another user wrote could send the credentials of this one to any server.
    """
    found = _of_file(workspace.database) if workspace.database.is_file() else set()
    known = {without_userinfo(place): place for place in _by_experiments(runs)}
    known |= {without_userinfo(place): place for place in map(os.environ.get, TRACKING_URIS) if place}
    unknown = set()
    for server in {record.tracking_uri for record in runs.records.values() if record.tracking_uri}:
        try:
            found |= _of_mlflow(known[server])
        except (KeyError, RequestError, WorkError):
            unknown.add(server)
    return Versions(frozenset(run for run, _ in found), frozenset(dataset for _, dataset in found), frozenset(unknown))


def _by_experiments(runs: "Runs") -> Iterator[str]:
    """Yields the servers that the experiments of runs name, or their --tracking-uri; passwords are masked there."""
    for folder in runs.records:
        file = folder / EXPERIMENT
        with suppress(OSError, DamagedError, WorkError):
            place = read_json(file, lambda experiment: experiment["targets"]["local"]["tracking_uri"])
            if isinstance(place, str) and file.stat().st_uid == os.getuid():
                yield place


def _of_mlflow(tracking_uri: str) -> set[tuple[str, str]]:
    database = databases.file_of(tracking_uri)
    return _of_server(tracking_uri) if database is None else _of_file(database)


def _of_file(database: Path) -> set[tuple[str, str]]:
    """Returns run and dataset of the versions in a SQLite file, without importing MLflow.

    Raises:
        WorkError: It cannot be read.
    """
    query = """
        SELECT run.value, COALESCE(data.value, '') FROM model_versions AS v
        JOIN tags AS run ON run.run_uuid = v.run_id AND run.key = ?
        LEFT JOIN tags AS data ON data.run_uuid = v.run_id AND data.key = ?
        WHERE EXISTS (SELECT 1 FROM registered_model_aliases AS a WHERE a.name = v.name AND a.version = v.version)
        OR EXISTS (SELECT 1 FROM model_version_tags AS t
                   WHERE t.name = v.name AND t.version = v.version AND t.key = ? AND t.value = 'true')
        OR EXISTS (SELECT 1 FROM metrics AS m JOIN runs AS h USING (run_uuid)
                   JOIN experiments AS e USING (experiment_id)
                   WHERE e.name = ? AND h.name = v.name AND m.key = ? AND m.value = v.version)"""
    try:
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=_PATIENCE)) as connection:
            return set(connection.execute(query, (tags.RUN, tags.DATASET, PROMOTED, HISTORIES, CHAMPION)).fetchall())
    except sqlite3.Error as error:
        raise WorkError(f"MLflow's database {database} cannot be read, and nothing was removed: {error}") from None


def _of_server(tracking_uri: str) -> set[tuple[str, str]]:
    from components.tracking import store

    client = store.connect(tracking_uri)
    with store.explained(tracking_uri):
        ids, page = set[str](), None
        while page != "":
            models = client.search_registered_models(page_token=page)
            for model in models:
                for number in {*model.aliases.values()}:
                    ids.add(str(client.get_model_version(model.name, str(number)).run_id))
            page = models.token or ""
        page = None
        while page != "":
            promoted = client.search_model_versions(f"tags.`{PROMOTED}` = 'true'", page_token=page)
            ids |= {str(version.run_id) for version in promoted}
            page = promoted.token or ""
        ids |= _champions(client)
        of_runs = [client.get_run(id).data.tags for id in ids if id]
    return {(each.get(tags.RUN, ""), each.get(tags.DATASET, "")) for each in of_runs}


def _champions(client: "MlflowClient") -> set[str]:
    """Returns the MLflow runs of the versions that the charts of the history runs have as a champion."""
    from mlflow import MlflowException

    ids, page = set[str](), None
    experiment = client.get_experiment_by_name(HISTORIES)
    while experiment is not None and page != "":
        histories = client.search_runs([experiment.experiment_id], page_token=page)
        for run in histories:
            for number in {int(point.value) for point in client.get_metric_history(run.info.run_id, CHAMPION)}:
                try:
                    ids.add(str(client.get_model_version(str(run.info.run_name), str(number)).run_id))
                except MlflowException as error:
                    if error.error_code != "RESOURCE_DOES_NOT_EXIST":  # a version that was deleted
                        raise
        page = histories.token or ""
    return ids


@dataclass(frozen=True)
class Runs:
    """The runs of a workspace.

    Attributes:
        records: Those whose records can be read, by their folders.
        others: Folders whose records are damaged, or missing.
    """

    records: dict[Path, Record]
    others: tuple[Path, ...]

    @classmethod
    def of(cls, workspace: Workspace) -> "Runs":
        """Reads them."""
        records, others = {}, []
        for folder in sorted(workspace.runs.iterdir()) if workspace.runs.is_dir() else ():
            try:
                record = read(folder)
            except DamagedError:  # `elboflow runs` says so
                record = None
            if record is None or record.run != folder.name or folder.is_symlink():
                others.append(folder)
            else:
                records[folder] = record
        return cls(records, tuple(others))

    def newest(self, count: int) -> set[Path]:
        """Returns the newest runs of each experiment."""
        found: dict[str, list[Path]] = {}
        for folder, record in sorted(self.records.items(), key=lambda each: each[1].created, reverse=True):
            found.setdefault(record.experiment, []).append(folder)
        return {folder for of_one in found.values() for folder in of_one[:count]}


def at_work(runs: Runs, workspace: Workspace) -> set[Path]:
    """Returns the runs that are at work, or that a tick of a schedule or a sweep goes on with."""
    names = {run for run in map(_unfinished, workspace.sweeps.glob("*")) if run}
    if (workspace.folder / SCHEDULES).is_file():
        with Store(workspace.folder) as store:
            names |= {tick.run for tick in store.open_ticks() if tick.run}
    return {folder for folder, record in runs.records.items() if record.run in names or not record.is_over(folder)}


def _unfinished(sweep: Path) -> str | None:
    try:
        state = state_of(sweep)
    except (DamagedError, WorkError):
        return None
    return None if state is None or state.status == "succeeded" else state.run


def read_from(folder: Path, of: str) -> set[str] | None:
    """Returns the names of the folders below `datasets` or `runs` that a run's artifacts stand in.

    They are told by name: a workspace that was moved still has the places of before in its records. None where that
    cannot be told.
    """
    try:
        places = [Path(artifact.uri).parts for artifact in artifacts.of_run(folder).values()]
    except (DamagedError, OSError, TypeError, AttributeError):
        return None
    return {name for parts in places for before, name in pairwise(parts) if before == of}
