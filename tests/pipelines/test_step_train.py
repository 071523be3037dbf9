"""`elboflow step train` by hand: how it ends, how it goes on, and how much of the machine it takes."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from components.preprocess import preprocess
from elboflow.testing.platforms.wire import free_port
from elboflow.vae import folder
from pipelines.experiment import load


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("step-train") / "dataset"
    preprocess(load("digits").data, folder)
    return folder


class Command:
    """`elboflow step train`, and what it has said so far."""

    def __init__(self, words: list[str], environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pipelines", "step", "train", "digits", *words],
            stderr=subprocess.PIPE,
            encoding="utf-8",
            env={**os.environ, **environment},
        )
        self.said: list[str] = []

    def until(self, words: str) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append(line.rstrip())
            if words in line:
                return
        raise AssertionError(f"it ended before it said {words!r}: {self.said}")

    def ended(self, by: signal.Signals | None = None) -> int:
        if by is not None:
            self.process.send_signal(by)
        assert self.process.stderr is not None
        self.said += [line.rstrip() for line in self.process.stderr]
        return self.process.wait()


Train = Callable[..., Command]


@pytest.fixture
def train(dataset: Path, tmp_path: Path) -> Iterator[Train]:
    """Starts the command; none outlives the test."""
    started: list[Command] = []

    def start(*arguments: str, environment: dict[str, str] | None = None) -> Command:
        words = ["--dataset", str(dataset), "--output", str(tmp_path / "model"), *arguments]
        started.append(Command(words, environment or {}))
        return started[-1]

    yield start
    for command in started:
        command.process.kill()
        command.process.wait()


LONG = ("--set", "training.epochs=100000", "--set", "training.early_stopping=null", "--set", "training.batch_size=256")


@pytest.mark.slow
def test_a_training_that_is_ended_says_how_to_go_on_and_one_of_other_settings_says_how_not_to(
    train: Train, tmp_path: Path
):
    terminated = train(*LONG)
    terminated.until("epoch 1/")
    assert terminated.ended(signal.SIGTERM) == 143
    assert terminated.said[-1] == "ended by SIGTERM; the same command goes on from the last checkpoint, if there is one"

    interrupted = train(*LONG)
    interrupted.until("going on after step")
    interrupted.until("epoch")
    assert interrupted.ended(signal.SIGINT) == 130
    assert interrupted.said[-1] == "interrupted; the same command goes on from the last checkpoint, if there is one"

    other = train(*LONG, "--set", "training.optimizer=lion")
    assert other.ended() == 2
    assert "training.optimizer" in other.said[-1]
    assert "--restart" in other.said[-1]

    anew = train(*LONG, "--set", "training.optimizer=lion", "--restart")
    anew.until("epoch 1/")
    assert anew.ended(signal.SIGTERM) == 143
    assert (
        anew.said[-1]
        == "ended by SIGTERM; the same command without --restart goes on from the last checkpoint, if there is one"
    )
    assert list((tmp_path / "model").glob("checkpoints.before-*"))


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_a_training_takes_no_more_threads_than_the_experiment_allows(backend: str, train: Train):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    hidden = "[1024, 1024]"
    settings = {
        "training.backend": backend,
        "training.epochs": 8,
        "training.batch_size": 512,
        "model.encoder.hidden": hidden,
        "model.decoder.hidden": hidden,
        "targets.local.threads": 1,
    }
    given = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    before, started = os.times(), time.monotonic()
    command = train(*given)
    assert command.ended() == 0, command.said
    after, seconds = os.times(), time.monotonic() - started
    used = after.children_user + after.children_system - before.children_user - before.children_system
    assert used / seconds <= 1.3


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_two_machines_of_a_custom_job_train_one_model(backend: str, train: Train, tmp_path: Path):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    settings = {
        "training.backend": backend,
        "training.epochs": 2,
        "training.parallel": "data",
        "targets.local.threads": 1,
    }
    given = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    pools = {f"workerpool{index}": [f"127.0.0.1:{free_port()}"] for index in range(2)}
    machines = [
        train(
            *given,
            environment={"CLUSTER_SPEC": json.dumps({"cluster": pools, "task": {"type": pool, "index": 0}})},
        )
        for pool in pools
    ]
    codes = [machine.ended() for machine in machines]
    assert codes == [0, 0], [machine.said for machine in machines]
    told = [next(line for line in machine.said if "best validation ELBO" in line) for machine in machines]
    assert told[0] == told[1]
    assert folder.load(tmp_path / "model").provenance.training.backend == backend
    assert {path.name for path in (tmp_path / "model").iterdir()} >= {"model.json", "model.keras", "curves.json"}
