"""Curves in MLflow while a model is trained, and the one run that they share with all that comes after."""

import logging
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.finish import finish
from components.surroundings.notify import RunEnd
from components.tracking import live, live_run, store
from components.tracking.live import Tracking
from tests.components.runs import EXPERIMENT, Run
from tests.servers.wire import wait_for

pytestmark = pytest.mark.xdist_group("mlflow")

Written = Callable[..., Run]
IDENTITY = "of this training"

# A training that tells epochs from the given one on, until it is killed.
ENDLESS = """
import sys, time
from pathlib import Path
from components.tracking import live
uri, folder, first = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
with live.curves(live.Tracking(uri, "digits"), folder / "saved", folder, "of this training") as (tell,):
    for epoch in range(first, 1_000_000):
        tell("train", epoch, 10 * epoch, {"elbo": -100.0 / epoch})
        tell("machine", epoch, 10 * epoch, {"examples_per_second": time.perf_counter()})
        time.sleep(0.1)
"""


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine takes longer to import MLflow than a training ought to wait."""
    monkeypatch.setattr(live, "FLUSH_SECONDS", 120.0)


def recorded(tracking_uri: str) -> list[Any]:
    client = store.connect(tracking_uri)
    return list(client.search_runs([e.experiment_id for e in client.search_experiments()]))


def curve(tracking_uri: str, run_id: str, name: str) -> list[tuple[int, float]]:
    history = store.connect(tracking_uri).get_metric_history(run_id, name)
    return sorted((point.step, point.value) for point in history)


def the_one(tracking_uri: str) -> Any:
    (run,) = recorded(tracking_uri)
    return run


def broken_off(error: BaseException, place: Tracking, saved: Path, output: Path) -> None:
    """A training that breaks off after its first epoch."""
    with suppress(type(error)), live.curves(place, saved, output, IDENTITY) as (tell,):
        tell("train", 1, 11, {"elbo": -40.0})
        raise error


def test_curves_are_there_while_training_runs_and_registration_completes_their_run(
    written: Written, values: np.ndarray, tracking_uri: str
):
    run = written("night-1", values)
    with live.curves(Tracking(tracking_uri, "digits"), run.model / "checkpoints", run.model, IDENTITY) as (tell,):
        tell("train", 1, 11, {"elbo": -40.0})
        tell("machine", 1, 11, {"examples_per_second": 50_000.0})
        wait_for(lambda: bool(recorded(tracking_uri)) and bool(the_one(tracking_uri).data.metrics), 300)
        while_training = the_one(tracking_uri)
    after_training = the_one(tracking_uri)
    result = run.register(tracking_uri)
    registered = the_one(tracking_uri)

    assert while_training.info.status == "RUNNING"
    assert while_training.data.metrics == {"train/elbo": -40, "machine/examples_per_second": 50_000}
    assert after_training.info.status == "FINISHED"  # for a training by hand, it is over
    assert not (run.model / "checkpoints").exists()
    assert (registered.info.run_id, registered.info.run_name) == (while_training.info.run_id, "night-1")
    assert (registered.info.status, result.run_id) == ("FINISHED", registered.info.run_id)
    assert registered.data.tags["elboflow.run"] == "night-1"
    assert registered.data.metrics["test/elbo"] == -30
    # The first epoch was there; the rest comes from the model folder.
    assert curve(tracking_uri, result.run_id, "train/elbo") == [(1, -40), (2, -30)]
    assert curve(tracking_uri, result.run_id, "validation/elbo") == [(1, -40), (2, -30)]

    again = Run("night-2", run.dataset, run.model, run.evaluation).register(tracking_uri)  # a cached result
    assert again.run_id != result.run_id
    assert curve(tracking_uri, again.run_id, "train/elbo") == [(1, -40), (2, -30)]


def test_a_training_killed_and_resumed_is_one_run_without_a_point_twice(tracking_uri: str, tmp_path: Path):
    def train(first: int, until: int) -> Any:
        command = [sys.executable, "-c", ENDLESS, tracking_uri, str(tmp_path / "model"), str(first)]
        process = subprocess.Popen(command)
        try:
            wait_for(
                lambda: any(run.data.metrics and newest(run) >= until for run in recorded(tracking_uri)),
                300,
            )
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
        wait_for(lambda: the_one(tracking_uri).info.status == "KILLED", 60)
        return the_one(tracking_uri)

    def newest(run: Any) -> int:
        return max(step for step, _ in curve(tracking_uri, run.info.run_id, "train/elbo"))

    killed = train(first=1, until=3)
    before = curve(tracking_uri, killed.info.run_id, "machine/examples_per_second")
    resumed = train(first=newest(killed) - 1, until=newest(killed) + 3)
    assert resumed.info.run_id == killed.info.run_id
    points = curve(tracking_uri, resumed.info.run_id, "train/elbo")
    assert points == [(epoch, -100 / epoch) for epoch in range(1, len(points) + 1)]
    machine = curve(tracking_uri, resumed.info.run_id, "machine/examples_per_second")
    assert machine[: len(before)] == before
    assert [step for step, _ in machine] == [step for step, _ in points]


@pytest.mark.slow
def test_a_training_that_fails_on_a_platform_is_the_run_that_failed(tracking_uri: str, tmp_path: Path):
    output = tmp_path / "root/4711/digits-20261121-abc/train_1/model"
    broken_off(ValueError("broken"), Tracking(tracking_uri, "digits"), output / "checkpoints", output)
    wait_for(lambda: bool(recorded(tracking_uri)) and the_one(tracking_uri).info.status == "FAILED", 300)
    failed = the_one(tracking_uri)
    name = "digits-20261121-abc"
    finish(RunEnd(name, "digits", "failed", "train", "broken"), EXPERIMENT, None, tracking_uri, job="12345")
    finished = the_one(tracking_uri)
    assert (finished.info.run_id, finished.info.run_name) == (failed.info.run_id, name)
    assert finished.info.status == "FAILED"
    assert finished.data.tags["elboflow.failure"] == "broken"
    assert finished.data.params["model.latent"] == "4"
    assert finished.data.metrics == {"train/elbo": -40}


@pytest.mark.slow
def test_where_the_runs_name_is_known_it_is_the_runs_from_the_first_point_on(
    written: Written, values: np.ndarray, tracking_uri: str, monkeypatch: pytest.MonkeyPatch
):
    run = written("night-1", values)
    with live.curves(Tracking(tracking_uri, "digits", "night-1"), run.model / "saved", run.model, IDENTITY) as (tell,):
        tell("validation", 1, 11, {"elbo": -40.0})
    assert recorded(tracking_uri) == []  # it ended before it was worth MLflow's import
    monkeypatch.setattr(live, "SECONDS_TO_BEGIN", 0.1)
    with live.curves(Tracking(tracking_uri, "digits", "night-1"), run.model / "saved", run.model, IDENTITY) as (tell,):
        tell("validation", 1, 11, {"elbo": -40.0})
        wait_for(lambda: bool(recorded(tracking_uri)) and bool(the_one(tracking_uri).data.metrics), 300)
    trained = the_one(tracking_uri)
    assert (trained.info.run_name, trained.info.status) == ("night-1", "RUNNING")
    assert run.register(tracking_uri).run_id == trained.info.run_id
    assert the_one(tracking_uri).info.status == "FINISHED"


@pytest.mark.slow
@pytest.mark.parametrize(("identity", "anew"), [("of another", False), (IDENTITY, True)])
def test_another_training_in_the_same_folder_is_another_run(
    tracking_uri: str, tmp_path: Path, identity: str, anew: bool
):
    place = Tracking(tracking_uri, "digits"), tmp_path / "saved", tmp_path / "model"
    broken_off(KeyboardInterrupt(), *place)
    wait_for(lambda: [run.info.status for run in recorded(tracking_uri)] == ["KILLED"], 300)
    with live.curves(*place, identity, anew=anew) as (tell,):
        tell("train", 1, 11, {"elbo": -50.0})
    assert sorted(run.data.metrics["train/elbo"] for run in recorded(tracking_uri)) == [-50, -40]
    assert live_run.note(tmp_path / "model") is not None


@pytest.mark.slow
def test_a_run_that_somebody_deletes_meanwhile_is_given_up_with_one_warning(
    tracking_uri: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    with (
        caplog.at_level(logging.WARNING, "elboflow.training"),
        live.curves(Tracking(tracking_uri, "digits"), tmp_path / "saved", tmp_path, IDENTITY) as (tell,),
    ):
        tell("train", 1, 11, {"elbo": -40.0})
        wait_for(lambda: bool(recorded(tracking_uri)) and bool(the_one(tracking_uri).data.metrics), 300)
        store.connect(tracking_uri).delete_run(the_one(tracking_uri).info.run_id)
        epochs = iter(range(2, 1_000_000))

        def told_until_it_gives_up() -> bool:
            tell("train", next(epochs), 22, {"elbo": -30.0})
            return bool(caplog.messages)

        wait_for(told_until_it_gives_up, 60)
    (message,) = caplog.messages
    assert message.startswith("the curves are not shown in MLflow while training runs: ")


def test_a_training_that_shows_nothing_starts_nothing(tracking_uri: str, tmp_path: Path):
    with live.curves(None, tmp_path / "saved", tmp_path / "model", IDENTITY) as observers:
        assert observers == ()
    started = time.monotonic()
    with live.curves(Tracking(tracking_uri, "digits"), tmp_path / "saved", tmp_path / "model", IDENTITY):
        pass
    assert time.monotonic() - started < 1
    assert list(tmp_path.glob("*/mlflow.json")) == []
