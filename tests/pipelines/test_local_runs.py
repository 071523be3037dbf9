"""Runs of this machine as a target: their records, logs and ends, also of those whose process was killed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from elboflow.artifacts import DamagedError
from elboflow.settings import RequestError
from elboflow.vae.compute import devices
from pipelines.cli import app
from pipelines.experiment import load
from pipelines.targets import StepState
from pipelines.targets.local.process import ProcessIdentity
from pipelines.targets.local.record import GONE, Record, read
from pipelines.targets.local.surroundings import THREADS, surroundings
from pipelines.workspace import Workspace

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def elboflow(workspace: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments, "--workspace", str(workspace)])


@pytest.fixture
def sleeper() -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield process
    process.kill()
    process.wait()


def process_of(id: int) -> ProcessIdentity:
    from pipelines.targets.local.process import _started

    return ProcessIdentity(id, _started(id) or "")


def record(run: str, process: ProcessIdentity, created: datetime = NOON) -> Record:
    steps = (
        StepState("preprocess", "succeeded", NOON, NOON + timedelta(seconds=2)),
        StepState("train", "running", NOON + timedelta(seconds=2)),
    )
    return Record(run, "digits", process, "running", created, steps=steps)


def test_what_a_record_says_is_read_back_as_it_was_written(tmp_path: Path):
    written = record("digits-1", ProcessIdentity.current()).over("failed", "a NaN")
    written.write(tmp_path)
    assert read(tmp_path / "digits-1") == written
    (tmp_path / "digits-1" / "run.json").write_text('{"run": "digits-1"}', encoding="utf-8")
    with pytest.raises(DamagedError, match=r"run.json is damaged: "):
        read(tmp_path / "digits-1")
    assert read(tmp_path / "absent") is None


OF_DAMAGED_RECORDS: list[tuple[Any, str]] = [
    ([], "it is not a JSON object"),
    (None, "it is not a JSON object"),
    ("x", "it is not a JSON object"),
    (1, "it is not a JSON object"),
    ({"created": "2026-11-29T00:12:30"}, "created: 2026-11-29T00:12:30 has no offset from UTC"),
    ({"created": "0001-01-01T00:00:00+14:00"}, "created: 0001-01-01T00:00:00+14:00 is no time at which a run was at"),
    ({"created": "9999-12-31T23:59:59-14:00"}, "created: 9999-12-31T23:59:59-14:00 is no time at which a run was at"),
    ({"ended": "2026-11-29T00:12:30"}, "ended: 2026-11-29T00:12:30 has no offset from UTC"),
    (
        {"steps": [{"name": "train", "status": "failed", "started": "2026-11-29T00:12:30"}]},
        "steps.0.started: 2026-11-29T00:12:30 has no offset from UTC",
    ),
]


@pytest.mark.parametrize(("written", "reason"), OF_DAMAGED_RECORDS)
def test_a_damaged_record_is_listed_with_its_reason_beside_the_other_runs(tmp_path: Path, written: Any, reason: str):
    for run in ("digits-1", "digits-2"):
        record(run, ProcessIdentity.current()).over("succeeded").write(tmp_path / "runs")
    file = tmp_path / "runs" / "digits-2" / "run.json"
    good = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**good, **written} if isinstance(written, dict) else written), encoding="utf-8")
    table = elboflow(tmp_path, "runs")
    assert table.exit_code == 0, table.stderr
    assert len(table.stdout.splitlines()) == 3
    assert f"run.json is damaged: {reason}" in table.stderr
    done = elboflow(tmp_path, "runs", "--json")
    listed = {run["run"]: run for run in json.loads(done.stdout)["runs"]}
    assert {name: run["status"] for name, run in listed.items()} == {"digits-1": "succeeded", "digits-2": "damaged"}
    assert f"run.json is damaged: {reason}" in listed["digits-2"]["reason"]
    for command in ("status", "logs", "cancel"):
        done = elboflow(tmp_path, command, "digits-2")
        assert (done.exit_code, done.stdout) == (1, "")
        assert f"run.json is damaged: {reason}" in done.stderr


def test_a_run_at_work_shows_its_steps_and_those_to_come(tmp_path: Path):
    record("digits-1", ProcessIdentity.current()).write(tmp_path / "runs")
    done = elboflow(tmp_path, "status", "digits-1", "--json")
    shown = json.loads(done.stdout)
    assert (done.exit_code, shown["status"]) == (0, "running")
    assert [(step["name"], step["status"]) for step in shown["steps"]] == [
        ("preprocess", "succeeded"),
        ("train", "running"),
        ("evaluate", "pending"),
        ("register", "pending"),
    ]


def test_a_run_whose_process_was_killed_has_failed_and_says_so(tmp_path: Path, sleeper: "subprocess.Popen[bytes]"):
    record("digits-1", process_of(sleeper.pid)).write(tmp_path / "runs")
    assert json.loads(elboflow(tmp_path, "status", "digits-1", "--json").stdout)["status"] == "running"
    sleeper.kill()
    sleeper.wait()
    shown = json.loads(elboflow(tmp_path, "status", "digits-1", "--json").stdout)
    assert (shown["status"], shown["reason"]) == ("failed", GONE)
    assert [(step["name"], step["status"]) for step in shown["steps"]] == [
        ("preprocess", "succeeded"),
        ("train", "failed"),
    ]


def test_another_process_that_got_the_same_id_is_neither_taken_for_the_run_nor_ended(
    tmp_path: Path, sleeper: "subprocess.Popen[bytes]"
):
    record("digits-1", replace(process_of(sleeper.pid), started="long ago")).write(tmp_path / "runs")
    assert json.loads(elboflow(tmp_path, "status", "digits-1", "--json").stdout)["reason"] == GONE
    assert elboflow(tmp_path, "cancel", "digits-1").exit_code == 0
    assert sleeper.poll() is None


def test_cancel_ends_the_process_of_a_run_and_is_without_effect_on_one_that_has_ended(
    tmp_path: Path, sleeper: "subprocess.Popen[bytes]"
):
    record("digits-1", process_of(sleeper.pid)).write(tmp_path / "runs")
    assert elboflow(tmp_path, "cancel", "digits-1").exit_code == 0
    assert sleeper.wait(timeout=5) == -signal.SIGTERM
    record("digits-2", ProcessIdentity.current()).over("succeeded").write(tmp_path / "runs")
    done = elboflow(tmp_path, "cancel", "digits-2")
    assert done.exit_code == 0
    assert done.stderr.endswith("digits-2: succeeded\n")


def test_runs_are_listed_the_newest_first_up_to_a_limit(tmp_path: Path):
    for number in range(3):
        made = record(f"digits-{number}", ProcessIdentity.current(), NOON + timedelta(hours=number))
        made.over("succeeded").write(tmp_path / "runs")
    (tmp_path / "runs" / "of-an-older-version").mkdir()
    listed = json.loads(elboflow(tmp_path, "runs", "list", "--limit", "2", "--json").stdout)
    assert [run["run"] for run in listed["runs"]] == ["digits-2", "digits-1"]
    table = elboflow(tmp_path, "runs").stdout
    assert [line.split()[:2] for line in table.splitlines()[1:]] == [
        [f"digits-{number}", "succeeded"] for number in (2, 1, 0)
    ]


def test_no_runs_are_no_error(tmp_path: Path):
    done = elboflow(tmp_path / "new", "runs")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "no runs on local yet\n")
    assert json.loads(elboflow(tmp_path / "new", "runs", "--json").stdout) == {"runs": []}
    assert not (tmp_path / "new").exists()


def test_logs_are_those_of_all_steps_or_of_one(tmp_path: Path):
    record("digits-1", ProcessIdentity.current()).write(tmp_path / "runs")
    for step, line in (("preprocess", "wrote 5 examples"), ("train", "epoch 1")):
        folder = tmp_path / "runs" / "digits-1" / step
        folder.mkdir()
        (folder / "log.txt").write_text(f"noise\n[elboflow] {line}\n", encoding="utf-8")
    assert elboflow(tmp_path, "logs", "digits-1").stdout.splitlines() == [
        "preprocess: noise",
        "preprocess: wrote 5 examples",
        "train: noise",
        "train: epoch 1",
    ]
    assert elboflow(tmp_path, "logs", "digits-1", "--step", "train").stdout == "noise\nepoch 1\n"
    done = elboflow(tmp_path, "logs", "digits-1", "--step", "register")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "has no step 'register' that has begun; those that have: preprocess, train" in done.stderr


def test_attaching_to_a_run_that_failed_is_exit_code_1_and_its_reason(tmp_path: Path):
    record("digits-1", ProcessIdentity.current()).over("failed", "a NaN").write(tmp_path / "runs")
    done = elboflow(tmp_path, "runs", "attach", "digits-1", "--json")
    assert (done.exit_code, json.loads(done.stdout)["status"]) == (1, "failed")
    assert done.stderr.splitlines()[-1] == "error: digits-1: failed in train: a NaN"


def test_ctrl_c_while_following_asks_nothing_of_the_run_and_says_how_to_follow_it_again(
    tmp_path: Path, sleeper: "subprocess.Popen[bytes]"
):
    record("digits-1", process_of(sleeper.pid)).write(tmp_path / "runs")
    command = [sys.executable, "-m", "pipelines", "runs", "attach", "digits-1", "--workspace", str(tmp_path)]
    following = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8")
    assert following.stderr is not None
    assert following.stderr.readline().strip() == str(tmp_path / "runs" / "digits-1")
    time.sleep(0.5)
    following.send_signal(signal.SIGINT)
    out, err = following.communicate(timeout=30)
    assert (following.returncode, out) == (130, "")
    assert f"runs attach digits-1 --target local --workspace {tmp_path}" in err
    assert sleeper.poll() is None


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two cores: on one, every step has one thread anyway")
def test_the_threads_of_an_experiment_are_those_that_its_steps_may_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in THREADS:
        monkeypatch.delenv(name, raising=False)
    before = dict(os.environ)
    with surroundings(load("digits", ["targets.local.threads=1"]), Workspace(tmp_path), None):
        assert {os.environ[name] for name in THREADS} == {"1"}
        read_by_numpy = (
            "import threadpoolctl, numpy; print({p['num_threads'] for p in threadpoolctl.threadpool_info()})"
        )
        told = subprocess.run([sys.executable, "-c", read_by_numpy], capture_output=True, encoding="utf-8")
        assert told.stdout.strip() == "{1}"
    assert dict(os.environ) == before


def started(workspace: Path, *arguments: str) -> Result:
    small = [
        "--set",
        "training.epochs=1",
        "--set",
        "registry={canary: false, baseline: false}",
        "--no-wait",
        "--json",
    ]
    return elboflow(workspace, "run", "digits", *small, *arguments)


@pytest.mark.xdist_group("main_job")
def test_a_detached_run_goes_on_without_the_command_and_can_be_cancelled_from_another(tmp_path: Path):
    begun = json.loads(started(tmp_path, "--set", "training.epochs=100000").stdout)
    shown: dict[str, Any] = {}
    deadline = time.monotonic() + 60
    while not any(step["status"] == "running" for step in shown.get("steps", [])):
        assert time.monotonic() < deadline
        shown = json.loads(elboflow(tmp_path, "status", begun["run"], "--json").stdout)
        assert shown["status"] == "running"
    ended = json.loads(elboflow(tmp_path, "cancel", begun["run"], "--json").stdout)
    assert (ended["status"], ended["reason"]) == ("cancelled", "ended by SIGTERM")
    assert "ended by SIGTERM" in (tmp_path / "runs" / begun["run"] / "output.log").read_text(encoding="utf-8")


def test_a_detached_run_that_cannot_begin_is_the_command_s_own_failure_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    done = started(tmp_path)
    assert done.exit_code == 1
    assert "error: it ended with exit code 1" in done.stderr
    assert list((tmp_path / "runs").iterdir()) == []


def test_steps_in_containers_need_an_engine_that_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/absent.sock")
    done = elboflow(tmp_path / "new", "run", "digits", "--docker", "--set", "targets.local.image=elboflow:cpu")
    assert done.exit_code == 2
    assert "--docker: no Docker engine answers here" in done.stderr
    assert not (tmp_path / "new").exists()


EXECUTOR = """[KFP Executor 2026-11-29 23:24:20,206 INFO]: Looking for component `train`
[KFP Executor 2026-11-29 23:24:20,206 INFO]: Got executor_input:
{
    "inputs": {
        "parameterValues": {}
    }
}
a library's line
[elboflow] epoch 1/3
[KFP Executor 2026-11-29 23:24:29,206 INFO]: Wrote executor output file
"""


def test_logs_are_without_the_lines_of_kfp_unless_they_are_asked_for(tmp_path: Path):
    record("digits-1", ProcessIdentity.current()).write(tmp_path / "runs")
    log = tmp_path / "runs" / "digits-1" / "train" / "log.txt"
    log.parent.mkdir()
    log.write_text(EXECUTOR, encoding="utf-8")
    assert elboflow(tmp_path, "logs", "digits-1").stdout == "train: a library's line\ntrain: epoch 1/3\n"
    assert elboflow(tmp_path, "logs", "digits-1", "--step", "train", "--verbose").stdout == EXECUTOR


def test_attaching_shows_first_what_the_steps_have_told(tmp_path: Path):
    record("digits-1", ProcessIdentity.current()).over("failed", "a NaN").write(tmp_path / "runs")
    log = tmp_path / "runs" / "digits-1" / "train" / "log.txt"
    log.parent.mkdir()
    log.write_text(EXECUTOR, encoding="utf-8")
    told = elboflow(tmp_path, "runs", "attach", "digits-1").stderr
    assert "train: epoch 1/3\n" in told
    assert "a library's line" not in told


def test_a_run_may_be_called_by_its_beginning_or_as_the_latest(tmp_path: Path):
    assert "there are no runs on local yet" in elboflow(tmp_path, "status", "latest").stderr
    for number, name in enumerate(["digits-1-a", "digits-1-b", "faces-1"]):
        made = record(name, ProcessIdentity.current(), NOON + timedelta(hours=number))
        made.over("succeeded").write(tmp_path / "runs")
    for word, meant in {"latest": "faces-1", "f": "faces-1", "digits-1-b": "digits-1-b"}.items():
        assert json.loads(elboflow(tmp_path, "status", word, "--json").stdout)["run"] == meant
    done = elboflow(tmp_path, "status", "digits-1")
    assert (done.exit_code, done.stderr) == (2, "error: digits-1: 2 runs begin so: digits-1-b, digits-1-a\n")
    assert "there is no run 'mnist'" in elboflow(tmp_path, "status", "mnist").stderr


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells its devices without a framework")
@pytest.mark.parametrize(("device", "file"), [("gpu", "nvidia0"), ("tpu", "accel0")])
def test_devices_that_this_machine_has_no_driver_of_are_refused_before_anything_runs(
    device: str, file: str, tmp_path: Path
):
    if not any(Path("/dev").glob(f"{file[:-1]}*")):
        done = elboflow(tmp_path / "new", "run", "digits", "--set", f"training.device={device}")
        assert done.exit_code == 2
        assert f"training.device: {device}; this machine has no driver of a {device.upper()}" in done.stderr
        assert not (tmp_path / "new").exists()
    with pytest.raises(RequestError):
        devices.require(device, tmp_path)
    (tmp_path / file).touch()
    devices.require(device, tmp_path)


def test_runs_are_listed_by_experiment_and_by_status_with_how_long_they_took(tmp_path: Path):
    for name, experiment, status in (("a", "digits", "failed"), ("b", "digits", "succeeded"), ("c", "gone", "failed")):
        made = replace(record(name, ProcessIdentity.current()), experiment=experiment)
        made.over(status, ended=NOON + timedelta(seconds=75)).write(tmp_path / "runs")  # type: ignore[arg-type]  # one of them

    def listed(*words: str) -> list[list[str]]:
        return [line.split()[:6] for line in elboflow(tmp_path, "runs", *words).stdout.splitlines()[1:]]

    assert [row[0] for row in listed("--experiment", "digits")] == ["b", "a"]
    assert [row[0] for row in listed("--status", "failed", "--experiment", "gone")] == ["c"]
    (row,) = listed("--status", "succeeded")
    assert row[4:6] == ["1", "min"]
    assert "no such runs among the latest" in elboflow(tmp_path, "runs", "--status", "cancelled").stderr
    done = elboflow(tmp_path, "runs", "--status", "dead")
    assert (done.exit_code, "--status dead: unknown; allowed: pending, running" in done.stderr) == (2, True)
