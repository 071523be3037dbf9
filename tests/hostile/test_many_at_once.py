"""Many runs and registrations in one workspace: at once, killed at random moments, and by the hundred."""

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from components.registry import resolve
from components.tracking import databases, store
from pipelines.cli import app
from pipelines.targets.local.process import ProcessIdentity
from pipelines.targets.local.record import Record
from pipelines.workspace import Workspace
from tests.components.conftest import dataset as dataset
from tests.components.runs import Run, write
from tests.opened import opened

pytestmark = pytest.mark.xdist_group("mlflow")

REGISTER = """
import sys
from components.config import RegistryConfig
from components.register import register
dataset, model, evaluation, run, tracking_uri = sys.argv[1:]
plain = RegistryConfig(canary=False, baseline=False)
register(dataset, model, evaluation, plain, {"name": "digits"}, run, tracking_uri)
"""


def written(name: str, dataset: Path, tmp_path: Path, better: float) -> Run:
    count = opened(dataset).manifest.counts["test"]
    values = np.random.default_rng(0).normal(-30, 5, count) + better
    return write(Run(name, dataset, tmp_path / name / "model", tmp_path / name / "evaluation"), values, "bernoulli", 0)


def register(run: Run, workspace: Workspace) -> "subprocess.Popen[bytes]":
    folders = [str(run.dataset), str(run.model), str(run.evaluation)]
    command = [sys.executable, "-c", REGISTER, *folders, run.name, workspace.tracking_uri]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL)


def versions(workspace: Workspace) -> dict[str, Any]:
    """The versions by the names of their runs, all decided, of which one is the champion."""
    client = store.connect(workspace.tracking_uri)
    found = {version.tags["elboflow.run"]: version for version in client.search_model_versions("name = 'digits-vae'")}
    assert len(found) == len(client.search_model_versions("name = 'digits-vae'"))
    assert all("elboflow.promoted" in version.tags for version in found.values())
    return found


def champion(workspace: Workspace) -> str:
    client = store.connect(workspace.tracking_uri)
    return str(client.get_model_version_by_alias("digits-vae", "champion").tags["elboflow.run"])


@pytest.mark.slow
def test_of_five_registrations_at_once_the_best_is_the_champion(workspace: Workspace, dataset: Path, tmp_path: Path):
    runs = [written(f"night-{better}", dataset, tmp_path, better) for better in (2, 0, 4, 1, 3)]
    processes = [register(run, workspace) for run in runs]
    assert [process.wait(120) for process in processes] == [0] * 5
    assert set(versions(workspace)) == {run.name for run in runs}
    assert champion(workspace) == "night-4"


@pytest.mark.slow
def test_registrations_that_are_killed_at_random_moments_are_done_again_with_the_effect_of_once(
    workspace: Workspace, dataset: Path, tmp_path: Path
):
    chance = random.Random(10)
    written("first", dataset, tmp_path, 0).register(workspace.tracking_uri)
    run = written("second", dataset, tmp_path, 1)
    for _ in range(5):
        process = register(run, workspace)
        time.sleep(chance.uniform(1.5, 8))
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert register(run, workspace).wait(120) == 0
    found = versions(workspace)
    assert set(found) == {"first", "second"}
    assert champion(workspace) == "second"
    client = store.connect(workspace.tracking_uri)
    recorded = client.search_runs([client.get_experiment_by_name("digits").experiment_id])
    assert sorted((run.info.run_name, run.info.status) for run in recorded) == [
        ("first", "FINISHED"),
        ("second", "FINISHED"),
    ]


@pytest.mark.slow
def test_five_runs_at_once_share_a_dataset_and_have_one_champion(tmp_path: Path):
    command = [sys.executable, "-m", "pipelines", "run", "digits", "--workspace", str(tmp_path), "--json"]
    command += ["--set", "training.epochs=1", "--set", "evaluation.bound_samples=2"]
    command += ["--set", "registry={canary: false, baseline: false}", "--set"]
    processes = [
        subprocess.Popen([*command, f"seed={seed}"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        for seed in range(5)
    ]
    done = [json.loads(process.communicate(timeout=500)[0]) for process in processes]
    assert [run["status"] for run in done] == ["succeeded"] * 5
    assert len({run["dataset"] for run in done}) == 1
    assert {run["mlflow"]["version"] for run in done} == {1, 2, 3, 4, 5}
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database:
        champions = "SELECT count(*) FROM registered_model_aliases WHERE alias = 'champion'"
        assert database.execute(champions).fetchone() == (1,)
        assert set(database.execute("SELECT status FROM runs")) == {("FINISHED",)}


@pytest.mark.slow
def test_five_hundred_runs_and_three_hundred_versions_are_answered_in_seconds(
    workspace: Workspace, dataset: Path, tmp_path: Path
):
    written("first", dataset, tmp_path, 0).register(workspace.tracking_uri)
    began = datetime.now(UTC)
    for number in range(500):
        record = Record(
            f"digits-{number}", "digits", ProcessIdentity(1, ""), "running", began + timedelta(seconds=number)
        )
        record.over("succeeded").write(workspace.runs)
    _copy_rows(workspace.database, runs=500, versions=302)

    seconds = {}
    for words in (["runs", "--limit", "1000"], ["status", "digits-250"]):
        started = time.monotonic()
        done = CliRunner().invoke(app, [*words, "--json", "--workspace", str(workspace.folder)])
        seconds[words[0]] = time.monotonic() - started
        assert done.exit_code == 0, done.output
    started = time.monotonic()
    assert resolve.resolve("models:/digits-vae@champion", workspace.runs, workspace.tracking_uri).is_dir()
    assert resolve.resolve("models:/digits-vae/303", workspace.runs, workspace.tracking_uri).is_dir()
    seconds["resolve"] = time.monotonic() - started
    started = time.monotonic()
    written("last", dataset, tmp_path, 1).register(workspace.tracking_uri)
    seconds["register"] = time.monotonic() - started
    assert champion(workspace) == "last"
    assert max(seconds.values()) < 20, seconds  # a few on an idle machine


def _copy_rows(database: Path, runs: int, versions: int) -> None:
    """Multiplies the run and the version that an MLflow holds."""
    with closing(sqlite3.connect(database)) as connection, connection:
        _copy(connection, "runs", {"run_uuid": [os.urandom(16).hex() for _ in range(runs)]})
        _copy(connection, "model_versions", {"version": list(range(2, versions + 2))})


def _copy(connection: sqlite3.Connection, table: str, changed: dict[str, list[Any]]) -> None:
    ((name, values),) = changed.items()
    columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    others = ", ".join("?" if column == name else column for column in columns)
    connection.executemany(f"INSERT INTO {table} SELECT {others} FROM {table} LIMIT 1", [(value,) for value in values])


def test_a_workspace_of_any_number_of_runs_is_mended_in_one_step(workspace: Workspace, dataset: Path, tmp_path: Path):
    written("first", dataset, tmp_path, 0).register(workspace.tracking_uri)
    _copy_rows(workspace.database, runs=500, versions=302)
    moved = Workspace(workspace.folder.rename(tmp_path / "moved"))
    started = time.monotonic()
    mended = store.mended(databases.uri_of(moved.database))
    assert mended is not None
    assert mended.locations == 1 + 501 + 1 + 303 + 2
    assert time.monotonic() - started < 10
