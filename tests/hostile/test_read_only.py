"""A read-only workspace can be read: models, runs and pages; a moved one is mended in a copy."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from components.tracking import databases
from elboflow import artifacts
from tests.components.conftest import dataset as dataset
from tests.components.conftest import empty_database as empty_database
from tests.components.runs import Run, write
from tests.opened import opened

pytestmark = pytest.mark.xdist_group("mlflow")

RESOLVED = """
import sys
from pathlib import Path
from components.registry import resolve
from pipelines.workspace import Workspace
place = Workspace(Path(sys.argv[1]))
print(resolve.resolve("models:/digits-vae@champion", place.runs, place.tracking_uri))
"""


@pytest.fixture(scope="module")
def workspace(dataset: Path, empty_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a champion; not to be changed."""
    folder = tmp_path_factory.mktemp("read-only")
    place = folder / "workspace"
    place.mkdir()
    shutil.copy(empty_database, place / "mlflow.db")
    run = Run("night-1", dataset, place / "runs/night-1/model", place / "runs/night-1/evaluation")

    count = opened(dataset).manifest.counts["test"]
    write(run, np.random.default_rng(0).normal(-30, 5, count), "bernoulli", 0)
    run.register(databases.uri_of(place / "mlflow.db"))
    (place / "runs/night-1/run.json").write_text(
        json.dumps(
            {
                "run": "night-1",
                "experiment": "digits",
                "process": {"id": 2**22 + 1, "started": "1"},
                "status": "running",
                "created": "2026-01-01T00:00:00+00:00",
            }
        ),
        encoding="utf-8",
    )
    return place


def read_only(workspace: Path, *command: str) -> "subprocess.CompletedProcess[str]":
    """Runs a command that cannot write into a workspace: it is mounted so, or its permissions say so."""
    words = [sys.executable, *command]
    if os.getuid() == 0:
        mounted = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'
        words = ["unshare", "--mount", "sh", "-c", mounted, str(workspace), *words]
    else:
        subprocess.run(["chmod", "-R", "a-w", str(workspace)], check=True)
    try:
        return subprocess.run(words, capture_output=True, encoding="utf-8", timeout=120)
    finally:
        if os.getuid() != 0:
            subprocess.run(["chmod", "-R", "u+w", str(workspace)], check=True)


def contents(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): artifacts.sha256(path) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_the_champion_is_found(workspace: Path):
    before = contents(workspace)
    done = read_only(workspace, "-c", RESOLVED, str(workspace))
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_relative_to(workspace / "mlartifacts")
    assert (Path(done.stdout.strip()) / "model.keras").read_bytes() == b"night-1"
    assert contents(workspace) == before


@pytest.mark.slow
def test_the_champion_of_a_workspace_that_was_copied_is_found_in_the_copy(workspace: Path, tmp_path: Path):
    copy = tmp_path / "My%20Project"
    shutil.copytree(workspace, copy)
    done = read_only(copy, "-c", RESOLVED, str(copy))
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_relative_to(copy / "mlartifacts")


def test_runs_are_listed_and_a_dead_one_is_shown_as_that(workspace: Path):
    done = read_only(workspace, "-m", "pipelines", "runs", "--json", "--workspace", str(workspace))
    assert done.returncode == 0, done.stderr
    assert [run["status"] for run in json.loads(done.stdout)["runs"]] == ["failed"]


def test_doctor_says_that_it_cannot_be_written_to(workspace: Path):
    looks = "from pathlib import Path; from pipelines.doctor.machine import workspace; print(workspace(Path({!r})))"
    done = read_only(workspace, "-c", looks.format(str(workspace)))
    assert "Read-only file system" in done.stdout or "Permission denied" in done.stdout
