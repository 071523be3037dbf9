"""State files of a workspace that were damaged: each is named, nothing ends in a traceback, and the rest goes on."""

import json
import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from components.sweep import trial
from components.sweep.trial import of_run
from elboflow.artifacts import read_json
from elboflow.settings import WorkError
from elboflow.vae.evaluation import metrics
from elboflow.vae.evaluation.folder import FORMAT
from pipelines.cli import app
from pipelines.connect import MEMORY, _memory
from pipelines.doctor.schedules import records
from pipelines.experiment import load
from pipelines.schedules.local import LocalTarget
from pipelines.sweeps.candidates import SearchSettings
from pipelines.sweeps.study import Settings, _study
from pipelines.targets.local.process import ProcessIdentity
from pipelines.targets.local.record import Record
from pipelines.targets.local.sweep import STATE, _begun
from pipelines.workspace import Workspace

DAMAGED = {
    "empty": b"",
    "half": b'{"run": "digits-2", "exper',
    "zeros": bytes(300),
    "binary": b"\xff\xfe\x00garbage",
    "another": b'{"format": 7}',
    "list": b"[1, 2]",
    "number": b"7",
    "null": b"null",
    "types": b'{"run": 1, "experiment": [], "process": 5, "status": "flying", "created": "today", "steps": {}}',
    "deep": b"[" * 100_000,
    "digits": b"9" * 10_000,
}


def elboflow(workspace: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments, "--workspace", str(workspace)])


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    for number in (1, 2):
        record = Record(f"digits-{number}", "digits", ProcessIdentity.current(), "running", datetime.now(UTC))
        record.over("succeeded").write(tmp_path / "runs")
    return tmp_path


def told(done: Result) -> str:
    said = done.stdout + done.stderr
    assert done.exception is None or isinstance(done.exception, SystemExit), repr(done.exception)
    assert done.exit_code in (0, 1, 2)
    assert "Traceback" not in said
    return said


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_a_run_with_a_damaged_record_is_named_and_the_others_are_listed(content: bytes, workspace: Path):
    path = workspace / "runs" / "digits-2" / "run.json"
    path.write_bytes(content)
    listed = {run["run"]: run for run in json.loads(elboflow(workspace, "runs", "--json").stdout)["runs"]}
    assert {name: run["status"] for name, run in listed.items()} == {"digits-1": "succeeded", "digits-2": "damaged"}
    assert str(path) in listed["digits-2"]["reason"]
    assert "digits-2" in told(elboflow(workspace, "runs"))
    for command in ("status", "logs", "cancel"):
        done = elboflow(workspace, command, "digits-2")
        assert done.exit_code == 1
        assert done.stderr.startswith(f"error: {path} is damaged: ")
        assert told(done).count("\n") == 1
        assert "[type=" not in done.stderr, "the validator's own words"
    assert elboflow(workspace, "status", "digits-1").exit_code == 0


@pytest.mark.slow
def test_no_flipped_bit_of_a_record_ends_in_a_traceback_or_hides_a_run(workspace: Path):
    path = workspace / "runs" / "digits-2" / "run.json"
    whole, chance = path.read_bytes(), random.Random(0)
    for _ in range(40):
        at = chance.randrange(8 * len(whole))
        damaged = bytearray(whole)
        damaged[at // 8] ^= 1 << at % 8
        path.write_bytes(damaged)
        assert len(json.loads(elboflow(workspace, "runs", "--json").stdout)["runs"]) == 2
        for command in ("status", "logs"):
            told(elboflow(workspace, command, "digits-2"))


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_what_a_workspace_remembers_of_platforms_is_named_and_the_schedules_of_this_machine_are_listed(
    content: bytes, workspace: Path, caplog: pytest.LogCaptureFixture
):
    place = Workspace(workspace)
    (workspace / MEMORY).write_bytes(content)
    found = _memory(place)
    assert not {"kubeflow", "vertex"} & set(found)
    done = elboflow(workspace, "runs", "--target", "kubeflow")
    assert done.exit_code == 2
    assert "has not been used with kubeflow yet" in told(done)
    assert LocalTarget(place).schedules() == []
    if not found and content:
        assert f"{workspace / MEMORY} is damaged" in told(done)


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_state_of_a_sweep_is_named_with_the_way_out(content: bytes, tmp_path: Path):
    name = _begun(tmp_path, load("digits"))
    assert _begun(tmp_path, load("digits")) == name
    (tmp_path / STATE).write_bytes(content)
    with pytest.raises(WorkError, match=r"sweep.json is damaged: .*begins a new run"):
        _begun(tmp_path, load("digits"))


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_trial_is_left_out_of_those_of_a_run(content: bytes, tmp_path: Path):
    whole = trial.Outcome("a", {"seed": 1}, "run-1", "finished", (1.0, 2.0))
    for name in ("a", "b"):
        trial.write(tmp_path / name, whole)
    assert trial.read(tmp_path / "a") == whole
    (tmp_path / "b" / trial.OUTCOME).write_bytes(content)
    assert of_run(tmp_path, "run-1") == [tmp_path / "a"]
    with pytest.raises(WorkError, match=r"trial.json (is damaged: |was written by a newer ELBOflow: )"):
        trial.read(tmp_path / "b")


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_damaged_metrics_are_named(content: bytes, tmp_path: Path):
    path = tmp_path / "metrics.json"
    path.write_bytes(content)
    with pytest.raises(WorkError, match=r"metrics.json is damaged: "):
        metrics.read(path, FORMAT.newest)


def test_a_damaged_study_is_named_with_the_way_out(tmp_path: Path):
    path = tmp_path / "study.db"
    settings = Settings(SearchSettings("tpe", 2, False), 1, str(path))
    _study(settings, "digits", load("digits"))
    whole = path.read_bytes()
    for content in (b"no database at all" * 100, whole[:5000], whole[:100] + bytes(len(whole) - 100)):
        path.write_bytes(content)
        with pytest.raises(WorkError, match=r"study.db cannot be used: .*remove it"):
            _study(settings, "digits", load("digits"))


def test_doctor_names_what_is_damaged(workspace: Path):
    (found,) = records(workspace)
    assert found.found == "2 runs here, none damaged"
    (workspace / "sweeps" / "digits-1").mkdir(parents=True)
    damaged = [workspace / "runs/digits-2/run.json", workspace / "sweeps/digits-1/sweep.json", workspace / MEMORY]
    for path in damaged:
        path.write_bytes(DAMAGED["half"])
    (found,) = records(workspace)
    assert found.state == "problem"
    assert all(str(path) in found.found for path in damaged)
    done = elboflow(workspace, "doctor")
    assert done.exit_code == 1
    assert str(damaged[0]) in told(done)


def test_a_file_that_cannot_be_read_is_no_damage(tmp_path: Path):
    with pytest.raises(WorkError, match=r"cannot be read: Is a directory"):
        read_json(tmp_path, dict)
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "absent", dict)


def test_a_record_of_the_first_version_is_read(tmp_path: Path):
    """As commit 98a35c2 wrote it."""
    values: dict[str, Any] = {
        "run": "digits-1",
        "experiment": "digits",
        "process": {"id": 7, "started": "123"},
        "status": "succeeded",
        "created": "2026-05-01T12:00:00+00:00",
        "ended": "2026-05-01T12:01:00+00:00",
        "steps": [
            {
                "name": "preprocess",
                "status": "succeeded",
                "started": "2026-05-01T12:00:00+00:00",
                "ended": "2026-05-01T12:00:02+00:00",
                "reason": None,
            }
        ],
        "reason": None,
        "planned": ["preprocess", "train", "evaluate", "register"],
        "target": "local",
    }
    (tmp_path / "runs" / "digits-1").mkdir(parents=True)
    (tmp_path / "runs" / "digits-1" / "run.json").write_text(json.dumps(values), encoding="utf-8")
    shown = json.loads(elboflow(tmp_path, "status", "digits-1", "--json").stdout)
    assert (shown["status"], shown["created"], shown["steps"][0]["status"]) == (
        "succeeded",
        "2026-05-01T12:00:00+00:00",
        "succeeded",
    )
