"""An MLflow that refuses, hangs, is away and comes back, while a model is trained."""

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from components.tracking import live, store
from components.tracking.live import Tracking
from tests.servers.tracking_server import Proxy, serving
from tests.servers.wire import free_port, wait_for

pytestmark = pytest.mark.xdist_group("mlflow")

IDENTITY = "of this training"
LOG_BATCH, CREATE = r"/api/2.0/mlflow/runs/log-batch", r"/api/2.0/mlflow/runs/create"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("mlflow-server")) as address:
        yield address


@pytest.fixture
def proxy(server: str) -> Iterator[Proxy]:
    with Proxy(server) as between:
        yield between


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine takes longer to import MLflow than a training ought to wait; a hang need not take as long."""
    monkeypatch.setattr(live, "FLUSH_SECONDS", 120.0)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")


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
def test_whatever_the_server_answers_training_goes_on_and_the_curves_arrive_once_it_is_back(
    server: str, proxy: Proxy, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    proxy.faults.reset("POST", CREATE)  # the run is made, and the answer is lost
    with (
        caplog.at_level(logging.INFO, "elboflow.training"),
        live.curves(Tracking(proxy.url, "faults"), tmp_path / "saved", tmp_path, IDENTITY) as (tell,),
    ):
        training = Training(tell)
        training.epochs(3)
        wait_for(lambda: points(server, "faults") == training.expected, 180)

        broken = proxy.faults.refuse("POST", LOG_BATCH, 500, times=3)
        training.epochs(1500)  # more than one call's worth
        wait_for(lambda: points(server, "faults") == training.expected, 120)
        assert broken.met == 3

        asked = len(proxy.asked("POST", LOG_BATCH))
        proxy.faults.refuse("POST", LOG_BATCH, 429, times=1, Retry_After="4")
        started = time.monotonic()
        training.epochs(1)
        wait_for(lambda: len(proxy.asked("POST", LOG_BATCH)) >= asked + 2, 120)
        assert time.monotonic() - started >= 4
        wait_for(lambda: points(server, "faults") == training.expected, 120)

        hanging = proxy.faults.delay("POST", LOG_BATCH, 3600, times=3)
        proxy.faults.reset("POST", LOG_BATCH)  # and then it takes them, and the answer is lost
        training.epochs(10)
        wait_for(lambda: points(server, "faults") == training.expected, 120)
        assert hanging.met == 3
        training.epochs(1)
    assert points(server, "faults") == training.expected
    assert not training.is_held_up
    batches = [request.json()["metrics"] for request in proxy.asked("POST", LOG_BATCH) if b"metrics" in request.body]
    assert max(len(batch) for batch in batches) == 1000
    client = store.connect(server)
    (run,) = client.search_runs([client.get_experiment_by_name("faults").experiment_id])
    assert run.info.status == "FINISHED"
    away = [message for message in caplog.messages if "does not take the training's curves now" in message]
    back = [message for message in caplog.messages if "takes the training's curves again" in message]
    assert 1 <= len(away) == len(back) <= 4  # one for each time that it was away


@pytest.mark.parametrize("how", [pytest.param("nobody listens", marks=pytest.mark.slow), "never answers"])
def test_an_mlflow_that_stays_away_costs_a_few_seconds_and_one_warning(
    how: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(live, "FLUSH_SECONDS", 3.0)
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
            wait_for(lambda: bool(caplog.messages), 180)
            training.epochs(5000)
            time.sleep(1)
            ended = time.monotonic()
        assert time.monotonic() - ended < 6
    assert not training.is_held_up
    away, left = caplog.messages
    assert away.startswith(f"the MLflow at {address} does not take the training's curves now")
    assert left.startswith("MLflow did not take all curves within 3 s of the training's end")
