"""Curves in MLflow while a model is trained, and the one run that they share with all that comes after."""

import logging
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.finish import begin, finish
from components.registry.decisions import history_run
from components.surroundings.notify import RunEnd
from components.tracking import live, liveness, store
from components.tracking.live import Tracking
from elboflow.testing.platforms.wire import wait_for
from tests.components.runs import EXPERIMENT, Run

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
        time.sleep(0.1)
"""


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine takes longer than a training ought to wait; a batch need not wait for the next."""
    monkeypatch.setattr(live, "FLUSH_SECONDS", 60.0)
    monkeypatch.setattr(live, "SECONDS_BETWEEN_BATCHES", 1)


def recorded(tracking_uri: str) -> list[Any]:
    client = store.connect(tracking_uri)
    return list(
        client.search_runs([e.experiment_id for e in client.search_experiments() if e.name != history_run.EXPERIMENT])
    )


def curve(tracking_uri: str, run_id: str, name: str) -> list[tuple[int, float]]:
    history = store.connect(tracking_uri).get_metric_history(run_id, name)
    return sorted((point.step, point.value) for point in history)


def the_one(tracking_uri: str) -> Any:
    (run,) = recorded(tracking_uri)
    return run


def curves_of(run: Any) -> dict[str, float]:
    return {name: value for name, value in run.data.metrics.items() if not name.startswith("seconds/")}


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
        wait_for(lambda: bool(recorded(tracking_uri)) and bool(the_one(tracking_uri).data.metrics), 60)
        while_training = the_one(tracking_uri)
    after_training = the_one(tracking_uri)
    result = run.register(tracking_uri)
    registered = the_one(tracking_uri)

    assert while_training.info.status == "RUNNING"
    assert curves_of(while_training) == {"train/elbo": -40, "machine/examples_per_second": 50_000}
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


@pytest.mark.slow
def test_a_training_killed_and_resumed_is_one_run_without_a_point_twice(tracking_uri: str, tmp_path: Path):
    command = [sys.executable, "-c", ENDLESS, tracking_uri, str(tmp_path / "model"), "1"]
    with subprocess.Popen(command) as process:
        try:
            wait_for(lambda: any(run.data.metrics for run in recorded(tracking_uri)), 120)
        finally:
            process.kill()
    killed = the_one(tracking_uri)
    before = curve(tracking_uri, killed.info.run_id, "train/elbo")
    newest = max(step for step, _ in before)
    with live.curves(Tracking(tracking_uri, "digits"), tmp_path / "model/saved", tmp_path / "model", IDENTITY) as (t,):
        for epoch in range(max(1, newest - 1), newest + 3):
            t("train", epoch, 10 * epoch, {"elbo": -100.0 / epoch})
    resumed = the_one(tracking_uri)
    assert (resumed.info.run_id, resumed.info.status) == (killed.info.run_id, "FINISHED")
    points = curve(tracking_uri, resumed.info.run_id, "train/elbo")
    assert points == [(epoch, -100 / epoch) for epoch in range(1, newest + 3)]


def test_a_training_by_hand_that_was_killed_is_ended_by_the_next_command(tracking_uri: str, tmp_path: Path):
    place = Tracking(tracking_uri, "digits"), tmp_path / "saved", tmp_path / "model", IDENTITY
    database = Path(tracking_uri.removeprefix("sqlite:///"))
    with live.curves(*place) as (tell,):
        tell("train", 1, 11, {"elbo": -40.0})
        wait_for(lambda: bool(recorded(tracking_uri)), 60)
        assert liveness.end_dead(database, lambda _: False) == ()
        store.connect(tracking_uri)
    with live.curves(Tracking(tracking_uri, "other"), *place[1:]) as (tell,):
        tell("train", 1, 11, {"elbo": -40.0})
        wait_for(lambda: len(recorded(tracking_uri)) == 2, 60)
        (tmp_path / "saved/at-work.lock").unlink()  # as where the machine has gone
        assert liveness.end_dead(database, lambda _: False) == ("other training",)


@pytest.mark.parametrize("place", ["project/night-1/train_1/model", "pipelines/digits/4711/train/model"])
def test_a_training_on_a_platform_continues_the_run_that_its_folder_belongs_to(
    tracking_uri: str, tmp_path: Path, place: str
):
    begin(EXPERIMENT, "night-0", tracking_uri, job="4710")
    begin(EXPERIMENT, "night-1", tracking_uri, job="4711")
    broken_off(ValueError("broken"), Tracking(tracking_uri, "digits"), tmp_path / "saved", tmp_path / place)
    run = next(run for run in recorded(tracking_uri) if run.info.run_name == "night-1")
    assert len(recorded(tracking_uri)) == 2
    assert curves_of(run) == {"train/elbo": -40}
    assert run.info.status == "RUNNING"  # the platform may try the step again
    assert not (tmp_path / "saved").exists()
    took = {"preprocess": 2.0, "train": 3.5}
    finish(RunEnd("night-1", "digits", "failed", "train", "broken", seconds=took), EXPERIMENT, None, tracking_uri)
    failed = store.connect(tracking_uri).get_run(run.info.run_id)
    assert failed.info.status == "FAILED"
    assert failed.data.tags["elboflow.failure"] == "broken"
    assert failed.data.params["model.latent"] == "4"
    assert failed.data.metrics == {"train/elbo": -40, "seconds/preprocess": 2, "seconds/train": 3.5}


def test_where_the_runs_name_is_known_it_is_the_runs_from_the_first_point_on(
    written: Written, values: np.ndarray, tracking_uri: str
):
    run = written("night-1", values)
    with live.curves(Tracking(tracking_uri, "digits", "night-1"), run.model / "saved", run.model, IDENTITY) as (tell,):
        tell("validation", 1, 11, {"elbo": -40.0})
    trained = the_one(tracking_uri)
    assert (trained.info.run_name, trained.info.status) == ("night-1", "RUNNING")
    assert curve(tracking_uri, trained.info.run_id, "validation/elbo") == [(1, -40)]
    assert run.register(tracking_uri).run_id == trained.info.run_id
    assert the_one(tracking_uri).info.status == "FINISHED"


@pytest.mark.parametrize(("identity", "anew"), [("of another", False), (IDENTITY, True)])
def test_another_training_in_the_same_folder_is_another_run(
    tracking_uri: str, tmp_path: Path, identity: str, anew: bool
):
    place = Tracking(tracking_uri, "digits"), tmp_path / "saved", tmp_path / "model"
    broken_off(KeyboardInterrupt(), *place)
    assert the_one(tracking_uri).info.status == "KILLED"
    with live.curves(*place, identity, anew=anew) as (tell,):
        tell("train", 1, 11, {"elbo": -50.0})
    assert sorted(run.data.metrics["train/elbo"] for run in recorded(tracking_uri)) == [-50, -40]


def test_a_run_that_somebody_deletes_meanwhile_is_given_up_with_one_warning(
    tracking_uri: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    with (
        caplog.at_level(logging.WARNING, "elboflow.training"),
        live.curves(Tracking(tracking_uri, "digits"), tmp_path / "saved", tmp_path, IDENTITY) as (tell,),
    ):
        tell("train", 1, 11, {"elbo": -40.0})
        wait_for(lambda: bool(recorded(tracking_uri)) and bool(the_one(tracking_uri).data.metrics), 60)
        store.connect(tracking_uri).delete_run(the_one(tracking_uri).info.run_id)
        for epoch in (2, 3):
            tell("train", epoch, 22, {"elbo": -30.0})
            wait_for(lambda: bool(caplog.messages), 60)
    (message,) = caplog.messages
    assert "does not take the training's curves now" in message


def test_a_training_that_is_not_tracked_has_no_observer(tmp_path: Path):
    with live.curves(None, tmp_path / "saved", tmp_path / "model", IDENTITY) as observers:
        assert observers == ()


def test_a_training_that_is_refused_at_once_leaves_no_run(
    tracking_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    connect = store.connect
    monkeypatch.setattr(store, "connect", lambda uri: (time.sleep(1), connect(uri))[1])  # as an import takes
    with suppress(ValueError), live.curves(Tracking(tracking_uri, "digits"), tmp_path / "saved", tmp_path, IDENTITY):
        raise ValueError("of other settings")
    assert recorded(tracking_uri) == []
    assert not (tmp_path / "saved").exists()
