"""A real training that is watched in all ways at once: it learns the same, and all that it tells arrives."""

import logging
import time
from pathlib import Path

import pytest

from components.tracking import live, store
from components.tracking.live import Tracking
from components.tracking.pictures import stored
from components.train import Monitoring, train
from elboflow import artifacts
from elboflow.vae import folder
from elboflow.vae.evaluation import gallery
from tests.components.runs import SHORT_TRAINING, SMALL_MODEL, Run
from tests.servers.tracking_server import Proxy

pytestmark = pytest.mark.xdist_group("tensorflow")


@pytest.mark.slow
def test_it_learns_the_same_and_its_curves_and_pictures_are_in_mlflow_and_in_tensorboard_and_its_steps_in_a_profile(
    trained: Run,
    tracking_uri: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    monkeypatch.setattr(live, "FLUSH_SECONDS", 120.0)  # a busy machine takes long to import MLflow
    monkeypatch.setattr(gallery, "SHARE", 1e9)
    model, watched = tmp_path / "model", SHORT_TRAINING.model_copy(update={"tensorboard": True})
    place = Tracking(tracking_uri, "digits")
    with caplog.at_level(logging.INFO, "elboflow.training"):
        train(trained.dataset, model, SMALL_MODEL, watched, 0, monitoring=Monitoring(profile=7, tracking=place))
    assert artifacts.sha256(model / "model.keras") == artifacts.sha256(trained.model / "model.keras")

    curves = folder.load(model).curves
    told = {
        f"{group}/{name}": values[-1]
        for group, columns in curves.items()
        for name, values in columns.items()
        if name not in ("epoch", "step")
    }
    client = store.connect(tracking_uri)
    (run,) = client.search_runs([client.get_experiment_by_name("digits").experiment_id])
    assert run.data.metrics == told
    assert {"train/gradient_norm", "train/skipped_steps", "machine/examples_per_second"} <= told.keys()

    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(model / "tensorboard"))
    events.Reload()
    assert {tag: events.Scalars(tag)[-1].value for tag in events.Tags()["scalars"]} == pytest.approx(told)

    names = ("validation/reconstructions", "validation/samples")
    assert stored(client, run.info.run_id) == {(name, epoch) for name in names for epoch in (1, 2)}

    assert list((model / "profile").rglob("*.xplane.pb"))
    (line,) = [message for message in caplog.messages if message.startswith("wrote a profile of 7 steps")]
    assert str(model / "profile") in line


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["500", "429", "nothing at all"])
def test_an_mlflow_that_is_broken_all_the_time_changes_no_weight_and_delays_the_end_by_seconds(
    trained: Run, tmp_path: Path, fault: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(live, "FLUSH_SECONDS", 3.0)
    started = time.monotonic()
    train(trained.dataset, tmp_path / "unwatched", SMALL_MODEL, SHORT_TRAINING, 0)
    usual = time.monotonic() - started
    with Proxy("http://127.0.0.1:1") as broken:
        for method in ("GET", "POST"):
            if fault == "nothing at all":
                broken.faults.delay(method, ".*", 3600, times=None)
            else:
                broken.faults.refuse(method, ".*", int(fault), times=None, Retry_After="30")
        started = time.monotonic()
        with caplog.at_level(logging.WARNING, "elboflow.training"):
            monitoring = Monitoring(tracking=Tracking(broken.url, "digits"))
            train(trained.dataset, tmp_path / "model", SMALL_MODEL, SHORT_TRAINING, 0, monitoring=monitoring)
        assert time.monotonic() - started < 2 * usual + 10
    assert artifacts.sha256(tmp_path / "model/model.keras") == artifacts.sha256(trained.model / "model.keras")
    assert len([message for message in caplog.messages if "MLflow" in message]) <= 2
