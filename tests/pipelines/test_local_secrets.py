"""A secret in the path of the data stays out of the workspace, for every command and every way in which it ends.

What is known to hold it is the environment that the commands are started in, which is the caller's own.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.targets.local import dead
from pipelines.targets.local.artifacts import OUTPUT
from pipelines.targets.local.process import ProcessIdentity
from pipelines.targets.local.record import Record
from pipelines.workspace import Workspace

SECRET = "database-S3CR3T"
SMALL = (
    "training.epochs=1",
    "model.latent=4",
    "evaluation.bound_samples=5",
    "evaluation.bootstrap_samples=100",
    "registry.canary=false",
    "registry.baseline=false",
)


class Place:
    """A workspace, and data whose path holds the value of a secret variable."""

    def __init__(self, folder: Path) -> None:
        data = folder / SECRET / "digits.npz"
        data.parent.mkdir()
        images = np.random.default_rng(0).integers(0, 2, (200, 8, 8, 1), np.uint8)
        np.savez(data, image=images)
        self.folder = folder
        self.workspace = folder / "workspace"
        self.settings = [
            *SMALL,
            f"data.source={{kind: npz, path: '{data}'}}",
            "data.features={image: {kind: image, shape: [8, 8, 1], range: [0, 1]}}",
        ]

    def command(self, *words: str, settings: tuple[str, ...] | None = ()) -> list[str]:
        given = [] if settings is None else [*self.settings, *settings]
        told = [word for setting in given for word in ("--set", setting)]
        return [sys.executable, "-m", "pipelines", *words, *told]

    def start(self, command: list[str], where: bool = True) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [*command, *(["--workspace", str(self.workspace)] if where else [])],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            env={**os.environ, "DATABASE_TOKEN": SECRET},
        )

    def do(self, command: list[str], code: int = 0, where: bool = True) -> str:
        process = self.start(command, where)
        out, err = process.communicate(timeout=400)
        assert process.returncode == code, err
        assert SECRET not in out + err
        return out if code == 0 else err

    def status(self, run: str) -> dict[str, Any]:
        shown: dict[str, Any] = json.loads(self.do(self.command("status", run, "--json", settings=None)))
        return shown

    def until(self, run: str, is_so: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        deadline = time.monotonic() + 300
        while not is_so(shown := self.status(run)):
            assert time.monotonic() < deadline, shown
            time.sleep(0.2)
        return shown

    def holding(self) -> list[Path]:
        files = [path for path in self.workspace.rglob("*") if path.is_file()]
        assert files
        return [path for path in files if SECRET.encode() in path.read_bytes() or SECRET in path.name]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.mark.slow
@pytest.mark.xdist_group("main_job")
def test_a_detached_run_gets_its_experiment_without_a_file_and_leaves_no_secret_when_cancelled(place: Place):
    command = place.command("run", "digits", "--no-wait", "--json", settings=("training.epochs=100000",))
    run = json.loads(place.do(command))["run"]
    assert not (place.workspace / "runs" / run / "experiment.yaml").exists()
    assert place.holding() == []
    place.until(run, lambda shown: shown["steps"][1]["status"] == "running")
    assert place.holding() == []
    place.do(place.command("cancel", run, settings=None))
    assert place.status(run)["status"] == "cancelled"
    assert place.holding() == []


def test_what_a_detached_run_is_refused_for_is_the_command_s_own_error_and_tells_no_secret(place: Place):
    (place.folder / SECRET / "digits.npz").unlink()
    said = place.do(place.command("run", "digits", "--no-wait"), code=2)
    assert "/***/digits.npz" in said
    assert not list(place.workspace.glob("runs/*"))


@pytest.mark.slow
@pytest.mark.xdist_group("main_job")
def test_a_detached_run_that_succeeds_leaves_no_secret(place: Place):
    run = json.loads(place.do(place.command("run", "digits", "--no-wait", "--json")))["run"]
    shown = place.until(run, lambda shown: shown["status"] not in ("pending", "running"))
    assert shown["status"] == "succeeded", shown
    assert place.holding() == []
    assert not list(place.workspace.rglob(OUTPUT))


@pytest.mark.slow
@pytest.mark.xdist_group("sweep")
@pytest.mark.parametrize("search", [(), ("--search", "tpe", "--trials", "2")])
def test_a_sweep_leaves_no_secret(place: Place, search: tuple[str, ...]):
    words = ("sweep", "digits", "--over", "model.latent=2,4", "--json", *search)
    done = json.loads(place.do(place.command(*words)))
    assert done["status"] == "succeeded"
    assert place.holding() == []
    assert not list(place.workspace.rglob(OUTPUT))


@pytest.mark.slow
@pytest.mark.xdist_group("sweep")
def test_a_sweep_that_fails_or_is_interrupted_leaves_no_secret(place: Place):
    words = ("sweep", "digits", "--over", "training.batch_size=5000,6000")
    said = place.do(place.command(*words), code=1)
    assert "none of 2 trials finished" in said
    assert place.holding() == []
    interrupted = place.start(place.command(*words, settings=("training.epochs=2",)))
    assert interrupted.stderr is not None
    assert any("search" in line for line in interrupted.stderr)
    interrupted.send_signal(signal.SIGINT)
    interrupted.communicate(timeout=60)
    assert interrupted.returncode == 130
    assert place.holding() == []


@pytest.mark.slow
def test_steps_by_hand_leave_no_secret(place: Place):
    def step(name: str, *words: str, where: bool = False) -> None:
        place.do(place.command("step", name, "digits", *words), where=where)

    folders = {name: str(place.workspace / name) for name in ("dataset", "model", "evaluation")}
    given = [("--dataset", folders["dataset"]), ("--model", folders["model"]), ("--evaluation", folders["evaluation"])]
    step("preprocess", "--output", folders["dataset"])
    step("train", *given[0], "--output", folders["model"])
    step("evaluate", *given[0], *given[1], "--output", folders["evaluation"])
    step("register", *given[0], *given[1], *given[2], where=True)
    assert place.holding() == []


def test_what_a_step_of_a_killed_run_returned_is_removed_by_the_command_that_finds_it_dead(tmp_path: Path):
    gone = ProcessIdentity(os.getpid(), "long ago")
    Record("digits-1", "digits", gone, "running", datetime.now(UTC)).write(tmp_path / "runs")
    left = tmp_path / "runs" / "digits-1" / "train" / OUTPUT
    left.parent.mkdir()
    left.write_text(SECRET, encoding="utf-8")
    assert dead.end(Workspace(tmp_path)) == ("digits-1",)
    assert not left.exists()


def test_a_schedule_of_an_experiment_that_holds_a_secret_is_refused_and_not_kept(place: Place):
    words = ("schedule", "create", "digits", "--cron", "0 2 * * *")
    said = place.do(place.command(*words), code=2)
    assert said.startswith("error: data.source.path: holds the value of $DATABASE_TOKEN, a secret, and the schedule")
    assert "unset $DATABASE_TOKEN here if it is none" in said
    assert not list(place.workspace.rglob("schedules.db*"))


@pytest.mark.parametrize(
    ("target", "settings"),
    [
        ("kubeflow", "{image: i, tracking_uri: 'http://mlflow', host: 'http://kubeflow'}"),
        (
            "vertex",
            "{project: my-project, location: europe-west4, root: 'gs://bucket/runs', image: i, "
            "tracking_uri: 'http://mlflow', steps: {train: {machine: n1-standard-8}}}",
        ),
    ],
)
def test_a_sweep_that_would_show_a_secret_on_a_platform_is_not_submitted(place: Place, target: str, settings: str):
    given = (f"targets.{target}={settings}", f"data.source={{kind: npz, path: 'gs://bucket/{SECRET}/x.npz'}}")
    words = ("sweep", "digits", "--over", "model.latent=2,4", "--target", target)
    said = place.do(place.command(*words, settings=given), code=2)
    assert said.startswith("error: data.source.path: holds the value of $DATABASE_TOKEN, a secret, and the compiled")
