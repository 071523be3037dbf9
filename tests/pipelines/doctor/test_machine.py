"""What a doctor finds on this machine: packages, devices, the workspace, MLflow."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.doctor import devices, installed, tracking, workspaces
from tests.pipelines.doctor.cloud import Cloud


def test_mlflow_behind_a_password_is_asked_with_it(cloud: Cloud, monkeypatch: pytest.MonkeyPatch):
    cloud.mlflow = "guarded"
    found = tracking.server(f"{cloud.url}/mlflow")
    assert (found.state, found.found) == ("ill", "refuses the credentials (401)")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "me")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "secret")
    assert tracking.server(f"{cloud.url}/mlflow/").state == "well"
    assert tracking.server(cloud.url).found == "is no MLflow: it answers 404"


def test_a_workspace_is_looked_at_with_its_mlflow_and_its_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").write_text("", encoding="utf-8")
    told = workspaces.workspace(tmp_path / "file" / "below")
    assert (told.state, "cannot be written to" in told.found) == ("ill", True)
    monkeypatch.setattr(workspaces, "ROOM", 1e18)
    told = workspaces.workspace(tmp_path)
    assert (told.state, told.mend) == ("ill", "make room for at least 1e+09 GB, or choose another --workspace")
    (tmp_path / "mlflow.db").write_text("no database, but longer than the header of one" * 10, encoding="utf-8")
    assert tracking.local(tmp_path).state == "ill"
    (tmp_path / "mlflow.db").unlink()
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        database.execute("CREATE TABLE runs (id TEXT)")
        database.execute("INSERT INTO runs VALUES ('a')")
    assert tracking.local(tmp_path).found.endswith("1 run in mlflow.db")


def test_packages_that_are_absent_or_too_old_are_told_with_their_command(monkeypatch: pytest.MonkeyPatch):
    wanted = ["pip-that-is-not>=1", "pydantic>=999", "numpy>=2", "jax>=0.10; extra == 'jax'", "ruff; extra == 'dev'"]
    monkeypatch.setattr(installed.metadata, "requires", lambda name: wanted)
    found = {each.what: each for each in installed.packages("tensorflow")}
    assert set(found) == {"package pip-that-is-not", "package pydantic"}
    assert found["package pip-that-is-not"].mend == "pip install -c constraints.txt 'pip-that-is-not>=1'"
    assert "needed: >=999" in found["package pydantic"].found
    wanted[:] = ["jax>=999; extra == 'jax'"]
    assert [each.what for each in installed.packages("jax")] == ["package jax"]
    assert [each.state for each in installed.packages("tensorflow")] == ["well"]


def test_versions_that_were_not_tested_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pins = tmp_path / "constraints.txt"
    pins.write_text("# pins\nnumpy==0.1  # old\nNothing==1\n", encoding="utf-8")
    assert installed.tested(pins) == {"numpy": "0.1", "nothing": "1"}
    assert installed.tested(tmp_path / "absent") == {}
    monkeypatch.setattr(installed, "tested", lambda path: {"numpy": "0.1"})
    (found,) = installed.packages("tensorflow")
    assert (found.state, "other versions than those tested: numpy 2" in found.found) == ("well", True)


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
    monkeypatch.setitem(devices._SEEN, "jax", "print('chatter'); print(0)")
    found = devices.devices("jax", gpu_machine)
    assert (found.state, found.mend) == ("ill", "pip install 'jax[cuda12]' for GPUs, 'jax[tpu]' for TPUs")
    assert "NVIDIA L4 23034 MiB; jax does not see them" in found.found
    monkeypatch.setitem(devices._SEEN, "jax", "print(1)")
    assert devices.devices("jax", gpu_machine).state == "well"
    monkeypatch.setitem(devices._SEEN, "jax", "raise ImportError")
    assert "could not be asked" in devices.devices("jax", gpu_machine).found


def test_a_tpu_is_known_by_its_device_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setitem(devices._SEEN, "jax", "print(4)")
    for number in range(4):
        (tmp_path / f"accel{number}").write_text("", encoding="utf-8")
    assert devices.devices("jax", tmp_path).found.endswith("4 TPU chips; jax sees 4")


def test_the_real_framework_tells_how_many_it_sees():
    pytest.importorskip("jax")
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", devices._SEEN["jax"]]
    assert subprocess.run(command, capture_output=True, encoding="utf-8", env=environment).stdout == "0\n"
