"""An MLflow that refuses, hangs, is away and comes back, while a model is trained."""

import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from components.tracking import live, store
from components.tracking.live import Tracking
from elboflow.testing.platforms.wire import free_port, wait_for
from tests.servers.tracking_server import Proxy

pytestmark = pytest.mark.xdist_group("mlflow")

IDENTITY = "of this training"
LOG_BATCH, CREATE = r"/api/2.0/mlflow/runs/log-batch", r"/api/2.0/mlflow/runs/create"


@pytest.fixture
def proxy(mlflow_server: str) -> Iterator[Proxy]:
    with Proxy(mlflow_server) as between:
        yield between


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine takes longer than a training ought to wait; a batch need not wait for the next."""
    monkeypatch.setattr(live, "FLUSH_SECONDS", 60.0)
    monkeypatch.setattr(live, "SECONDS_BETWEEN_BATCHES", 1)


def points(server: str, experiment: str) -> list[tuple[int, float]]:
    client = store.connect(server)
    found = client.get_experiment_by_name(experiment)
    runs = client.search_runs([found.experiment_id]) if found else []
    history = [point for run in runs for point in client.get_metric_history(run.info.run_id, "train/elbo")]
    return sorted((point.step, point.value) for point in history)


class Training:
    """Tells epochs, as many as are asked for, and how long each of them took to tell."""

    def __init__(self, tell: Any) -> None:
        self._tell, self.told, self._seconds = tell, 0, list[float]()

    def epochs(self, count: int) -> None:
        for _ in range(count):
            self.told += 1
            started = time.perf_counter()
            self._tell("train", self.told, 10 * self.told, {"elbo": -100.0 / self.told})
            self._seconds.append(time.perf_counter() - started)

    @property
    def is_held_up(self) -> bool:
        """Whether one in a hundred took as long as a request does: on a busy machine, a single one says nothing."""
        return sorted(self._seconds)[len(self._seconds) * 99 // 100] > 0.05

    @property
    def expected(self) -> list[tuple[int, float]]:
        return [(epoch, -100 / epoch) for epoch in range(1, self.told + 1)]


@pytest.mark.slow
def test_whatever_the_server_answers_training_goes_on_and_the_curves_go_on_once_it_is_back(
    mlflow_server: str, proxy: Proxy, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    proxy.faults.reset("POST", CREATE)  # the run is made, and the answer is lost
    with (
        caplog.at_level(logging.INFO, "elboflow.training"),
        live.curves(Tracking(proxy.url, "faults"), tmp_path / "saved", tmp_path, IDENTITY) as (tell,),
    ):
        training = Training(tell)
        training.epochs(3)
        wait_for(lambda: points(mlflow_server, "faults") == training.expected, 180)

        broken = proxy.faults.refuse("POST", LOG_BATCH, 500, times=1)
        training.epochs(1)
        wait_for(lambda: broken.met == 1, 120)
        arrived = training.told - 1
        training.epochs(1500)  # more than one call's worth
        lacking = [(arrived + 1, -100 / (arrived + 1))]  # which the registration completes
        wait_for(lambda: sorted(points(mlflow_server, "faults") + lacking) == training.expected, 120)
    assert sorted(points(mlflow_server, "faults") + lacking) == training.expected
    assert not training.is_held_up
    batches = [request.json()["metrics"] for request in proxy.asked("POST", LOG_BATCH) if b"metrics" in request.body]
    assert max(len(batch) for batch in batches) <= 1000
    client = store.connect(mlflow_server)
    (run,) = client.search_runs([client.get_experiment_by_name("faults").experiment_id])
    assert run.info.status == "FINISHED"
    assert len([message for message in caplog.messages if "does not take the training's curves now" in message]) == 1


@pytest.mark.slow
@pytest.mark.parametrize("how", ["nobody listens", "never answers"])
def test_an_mlflow_that_stays_away_costs_a_few_seconds_and_one_warning(
    how: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(live, "FLUSH_SECONDS", 2.0)
    with Proxy("http://127.0.0.1:1") as nobody:
        nobody.faults.delay("GET", ".*", 3600, times=None)
        nobody.faults.delay("POST", ".*", 3600, times=None)
        address = nobody.url if how == "never answers" else f"http://127.0.0.1:{free_port()}"
        with (
            caplog.at_level(logging.INFO, "elboflow.training"),
            live.curves(Tracking(address, "digits"), tmp_path / "saved", tmp_path, IDENTITY) as (tell,),
        ):
            training = Training(tell)
            training.epochs(5000)
            wait_for(lambda: bool(caplog.messages), 60)
            training.epochs(5000)
            ended = time.monotonic()
        assert time.monotonic() - ended < 5
    assert not training.is_held_up
    away, *left = [record.getMessage() for record in caplog.records if record.name == "elboflow.training"]
    assert away.startswith(f"the MLflow at {address} does not take the training's curves now")
    assert all(message.startswith("MLflow did not take all curves within 2 s") for message in left)


# A training whose MLflow stops answering once the curves have begun; prints when the training has ended.
HANGING = """
import sys, time
from pathlib import Path
from components.tracking import live
live.SECONDS_BETWEEN_BATCHES = 1
uri, folder = sys.argv[1], Path(sys.argv[2])
with live.curves(live.Tracking(uri, "hanging"), folder / "saved", folder, "of this training") as (tell,):
    tell("train", 1, 10, {"elbo": -100.0})
    print("begun", flush=True)
    sys.stdin.readline()
    for epoch in range(2, 2000):
        tell("train", epoch, 10, {"elbo": -100.0})
    time.sleep(2)
"""


@pytest.mark.slow
def test_a_process_ends_within_seconds_although_mlflow_has_stopped_answering(
    mlflow_server: str, proxy: Proxy, tmp_path: Path
):
    command = [sys.executable, "-c", HANGING, proxy.url, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8") as training:
        try:
            wait_for(lambda: len(points(mlflow_server, "hanging")) == 1, 120)
            proxy.faults.delay("POST", ".*", 3600, times=None)
            proxy.faults.delay("GET", ".*", 3600, times=None)
            started = time.monotonic()
            training.communicate("go on\n", timeout=60)
        finally:
            training.kill()
    assert training.returncode == 0
    assert time.monotonic() - started < 10  # of which it trains for 2 s, and waits for MLflow for 2
