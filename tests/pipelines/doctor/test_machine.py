"""What a doctor finds on this machine: packages, devices, the workspace, MLflow."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipelines.doctor import machine
from pipelines.targets.checks import Finding, server
from pipelines.targets.local.checks import local_mlflow
from pipelines.targets.local.process import ProcessIdentity
from pipelines.targets.local.record import Record
from pipelines.workspace import Workspace
from tests.pipelines.doctor.cloud import Cloud


def test_mlflow_behind_a_password_is_asked_with_it(cloud: Cloud, monkeypatch: pytest.MonkeyPatch):
    cloud.mlflow = "guarded"
    found = server(f"{cloud.url}/mlflow")
    assert (found.state, found.found) == ("problem", "refuses the credentials (401)")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "me")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "secret")
    assert server(f"{cloud.url}/mlflow/").state == "ok"
    assert server(cloud.url).found == "is no MLflow: it answers 404"


def test_a_workspace_is_looked_at_with_its_mlflow_and_its_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").write_text("", encoding="utf-8")
    told = machine.workspace(tmp_path / "file" / "below")
    assert (told.state, "cannot be written to" in told.found) == ("problem", True)
    monkeypatch.setattr(machine, "ROOM", 1e18)
    told = machine.workspace(tmp_path)
    assert (told.state, told.remedy) == ("problem", "make room for at least 1e+09 GB, or choose another --workspace")


TABLES = """
CREATE TABLE experiments (experiment_id INTEGER, name TEXT, artifact_location TEXT, lifecycle_stage TEXT);
CREATE TABLE runs (run_uuid TEXT, name TEXT, status TEXT, end_time INTEGER, artifact_uri TEXT);
CREATE TABLE logged_models (artifact_location TEXT);
CREATE TABLE model_versions (name TEXT, version INTEGER, source TEXT, storage_location TEXT);
CREATE TABLE registered_model_aliases (alias TEXT, version INTEGER, name TEXT);
CREATE TABLE datasets (dataset_source TEXT);
CREATE TABLE tags (key TEXT, value TEXT, run_uuid TEXT, PRIMARY KEY (key, run_uuid));
"""
"""What doctor reads of MLflow's tables."""


@pytest.fixture(params=["workspace", 'My%20Project a?b#c "q"'])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Workspace:
    """A workspace whose MLflow holds one run, of the experiment `digits`."""
    place = Workspace(tmp_path / request.param)
    place.folder.mkdir()
    digits = (place.model_files / "digits").as_uri()
    with closing(sqlite3.connect(place.database)) as database, database:
        database.executescript(TABLES)
        database.execute("INSERT INTO experiments VALUES (1, 'digits', ?, 'active')", (digits,))
        database.execute("INSERT INTO runs VALUES ('r1', 'digits-1', 'RUNNING', NULL, ?)", (f"{digits}/r1/artifacts",))
    return place


def looked(place: Workspace) -> list[Finding]:
    return local_mlflow(place.database, place, "digits")


def test_a_workspace_without_an_mlflow_is_well(tmp_path: Path):
    (found,) = looked(Workspace(tmp_path))
    assert (found.state, f"the first run makes {tmp_path}/mlflow.db" in found.found) == ("ok", True)


def test_an_mlflow_is_well_in_any_folder(place: Workspace):
    (found,) = looked(place)
    assert (found.state, found.found.endswith("1 run in mlflow.db")) == ("ok", True)


def test_an_mlflow_that_is_damaged_is_ill_with_a_mend(place: Workspace):
    with open(place.database, "r+b") as file:
        file.seek(4096)
        file.write(b"x" * 2048)
    (found,) = looked(place)
    assert (found.state, "cannot be read" in found.found) == ("problem", True)
    assert found.remedy.startswith("put it away, and its backup in its place")


def test_a_workspace_that_was_moved_is_ill_and_mended_and_then_well(place: Workspace, tmp_path: Path):
    moved = Workspace(place.folder.rename(tmp_path / "moved"))
    (found,) = looked(moved)
    assert found.state == "problem"
    assert f"says that its files are in {place.folder}" in found.found
    assert found.remedy == "1 location of files point here now; look again"
    assert [again.state for again in looked(moved)] == ["ok"]


def test_a_run_that_was_killed_is_ill_and_ended_and_then_well(place: Workspace):
    nowhere = ProcessIdentity(2**22 + 1, "1")
    Record("digits-1", "digits", nowhere, "running", datetime.now(UTC)).write(place.runs)
    with closing(sqlite3.connect(place.database)) as database, database:
        database.execute("INSERT INTO tags VALUES ('elboflow.run', 'digits-1', 'r1')")
    (found,) = looked(place)
    assert (found.state, found.found) == ("problem", "killed, with their machine or container: digits-1")
    assert [again.state for again in looked(place)] == ["ok"]


def test_an_experiment_that_was_deleted_in_mlflow_is_ill_with_the_way_to_restore_it(place: Workspace):
    with closing(sqlite3.connect(place.database)) as database, database:
        database.execute("UPDATE experiments SET lifecycle_stage = 'deleted'")
    (found,) = looked(place)
    assert (found.state, "'digits' was deleted there" in found.found) == ("problem", True)
    assert found.remedy.endswith("mlflow experiments restore --experiment-id 1")


def test_a_champion_that_cannot_be_used_is_ill_and_one_of_an_older_format_is_well(place: Workspace):
    files = place.model_files / "digits/models/m-1/artifacts"
    model = files / "elboflow/artifacts/model"
    shutil.copytree(Path(__file__).parents[2] / "formats/98a35c2/model", model)
    about = "flavors: {python_function: {artifacts: {model: {path: elboflow/artifacts/model}}}}"
    (files / "MLmodel").write_text(about, encoding="utf-8")
    with closing(sqlite3.connect(place.database)) as database, database:
        database.execute("INSERT INTO model_versions VALUES ('digits-vae', 7, 'models:/m-1', ?)", (files.as_uri(),))
        database.execute("INSERT INTO registered_model_aliases VALUES ('champion', 7, 'digits-vae')")
    assert [finding.state for finding in local_mlflow(place.database, place, None)] == ["ok"]
    facts = json.loads((model / "model.json").read_text(encoding="utf-8"))
    (model / "model.json").write_text(json.dumps({**facts, "format": 99}), encoding="utf-8")
    (newer,) = local_mlflow(place.database, place, None)
    assert (newer.what, newer.state) == ("champion models:/digits-vae/7", "problem")
    assert "written by a newer ELBOflow" in newer.found
    shutil.rmtree(files)
    (absent,) = local_mlflow(place.database, place, None)
    assert "MLflow does not have the files of models:/digits-vae/7" in absent.found


def test_packages_that_are_absent_or_too_old_are_told_with_their_command(monkeypatch: pytest.MonkeyPatch):
    wanted = ["pip-that-is-not>=1", "pydantic>=999", "numpy>=2", "jax>=0.10; extra == 'jax'", "ruff; extra == 'dev'"]
    monkeypatch.setattr(machine.metadata, "requires", lambda name: wanted)
    found = {each.what: each for each in machine.packages("tensorflow")}
    assert set(found) == {"package pip-that-is-not", "package pydantic"}
    assert found["package pip-that-is-not"].remedy == "pip install -c constraints.txt 'pip-that-is-not>=1'"
    assert "needed: >=999" in found["package pydantic"].found
    wanted[:] = ["jax>=999; extra == 'jax'"]
    assert [each.what for each in machine.packages("jax")] == ["package jax"]
    assert [each.state for each in machine.packages("tensorflow")] == ["ok"]


def test_versions_that_were_not_tested_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pins = tmp_path / "constraints.txt"
    pins.write_text("# pins\nnumpy==0.1  # old\nNothing==1\n", encoding="utf-8")
    assert machine.tested(pins) == {"numpy": "0.1", "nothing": "1"}
    assert machine.tested(tmp_path / "absent") == {}
    monkeypatch.setattr(machine, "tested", lambda path: {"numpy": "0.1"})
    (found,) = machine.packages("tensorflow")
    assert (found.state, "other versions than those tested: numpy 2" in found.found) == ("ok", True)


@pytest.fixture
def gpu_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose nvidia-smi tells of a GPU."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin/nvidia-smi"
    program.write_text("#!/bin/sh\necho 'NVIDIA L4, 23034 MiB'\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    return tmp_path


def test_a_gpu_that_the_framework_does_not_see_is_ill(gpu_machine: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(machine._SEEN, "jax", "print('chatter'); print(0)")
    found = machine.devices("jax", gpu_machine)
    assert (found.state, found.remedy) == ("problem", "pip install 'jax[cuda12]' for GPUs, 'jax[tpu]' for TPUs")
    assert "NVIDIA L4 23034 MiB; jax does not see them" in found.found
    monkeypatch.setitem(machine._SEEN, "jax", "print(1)")
    assert machine.devices("jax", gpu_machine).state == "ok"
    monkeypatch.setitem(machine._SEEN, "jax", "raise ImportError")
    assert "could not be asked" in machine.devices("jax", gpu_machine).found


def test_a_tpu_is_known_by_its_device_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setitem(machine._SEEN, "jax", "print(4)")
    for number in range(4):
        (tmp_path / f"accel{number}").write_text("", encoding="utf-8")
    assert machine.devices("jax", tmp_path).found.endswith("4 TPU chips; jax sees 4")


def test_the_real_framework_tells_how_many_it_sees():
    pytest.importorskip("jax")
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", machine._SEEN["jax"]]
    assert subprocess.run(command, capture_output=True, encoding="utf-8", env=environment).stdout == "0\n"
