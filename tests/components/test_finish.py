"""The final state of a run in MLflow, whatever became of it."""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.config import Command, RegistryConfig
from components.decide import changed
from components.finish import begin, finish, registered
from components.register import register
from components.registry.decisions import history_run
from components.registry.record import of_test_split
from components.surroundings.notify import RunEnd
from components.tracking import store
from components.tracking import tags as names
from components.tracking.pages import run_page
from components.tracking.parameters import config_digest
from elboflow.settings import WorkError
from preprocessing.config import DataConfig
from tests.components.runs import EXPERIMENT, Run

pytestmark = pytest.mark.xdist_group("mlflow")

Written = Callable[..., Run]
LINK = "https://console.example/runs/night-1"


def failed(tracking_uri: str, run: str = "night-1", status: Any = "failed", **changes: Any) -> None:
    told = {"step": "train", "reason": "the loss is not a number", "link": LINK, "notification": None, **changes}
    notification = told.pop("notification")
    finish(RunEnd(run, "digits", status, **told), EXPERIMENT, notification, tracking_uri)


def recorded(tracking_uri: str) -> list[Any]:
    client = store.connect(tracking_uri)
    return list(
        client.search_runs([e.experiment_id for e in client.search_experiments() if e.name != history_run.EXPERIMENT])
    )


def tags(run: Any) -> dict[str, str]:
    return {name: value for name, value in run.data.tags.items() if name.startswith("elboflow.")}


@pytest.mark.parametrize(("status", "state"), [("failed", "FAILED"), ("cancelled", "KILLED")])
def test_a_run_that_never_registered_is_there_with_its_settings_and_its_reason(
    tracking_uri: str, status: str, state: str
):
    failed(tracking_uri, status=status)
    (run,) = recorded(tracking_uri)
    assert (run.info.run_name, run.info.status) == ("night-1", state)
    assert run.info.end_time is not None
    assert run.data.params["model.latent"] == "4"
    assert {name: value for name, value in tags(run).items() if name != "elboflow.code"} == {
        "elboflow.experiment": "digits",
        "elboflow.run": "night-1",
        "elboflow.config": config_digest(EXPERIMENT),
        "elboflow.step": "train",
        "elboflow.failure": "the loss is not a number",
        "elboflow.link": LINK,
    }


def test_it_can_be_done_twice(tracking_uri: str):
    failed(tracking_uri)
    failed(tracking_uri)
    assert [run.info.status for run in recorded(tracking_uri)] == ["FAILED"]


def test_a_run_is_in_mlflow_from_its_start_to_its_end_with_the_seconds_of_its_steps(
    written: Written, values: np.ndarray, tracking_uri: str
):
    began = round(1000 * time.time()) - 60_000
    begin(EXPERIMENT, "night-1", tracking_uri, began)
    begin(EXPERIMENT, "night-1", tracking_uri, began + 1)  # as where the step is tried again
    (running,) = recorded(tracking_uri)
    assert (running.info.status, running.info.start_time) == ("RUNNING", began)
    assert running.data.params["model.latent"] == "4"
    finished = written("night-1", values)
    folders = finished.dataset, finished.model, finished.evaluation
    register(
        *folders,
        RegistryConfig(canary=False, baseline=False),
        finished.experiment,
        "night-1",
        tracking_uri,
        {"train": 41.25},
    )
    (run,) = recorded(tracking_uri)
    assert (run.info.run_id, run.info.status, run.info.start_time) == (running.info.run_id, "FINISHED", began)
    assert run.info.end_time - began >= 60_000
    assert run.data.metrics["seconds/train"] == 41.2
    assert run.data.metrics["seconds/register"] > 0


def test_a_run_that_registered_stays_finished_and_gets_its_link(
    written: Written, values: np.ndarray, tracking_uri: str
):
    written("night-1", values).register(tracking_uri)
    ended = recorded(tracking_uri)[0].info.end_time
    finish(RunEnd("night-1", "digits", "succeeded", link=LINK), EXPERIMENT, None, tracking_uri)
    (run,) = recorded(tracking_uri)
    assert (run.info.status, run.info.end_time) == ("FINISHED", ended)
    assert tags(run)["elboflow.link"] == LINK


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_what_happens_after_the_registration_does_not_unmake_it(
    written: Written, values: np.ndarray, tracking_uri: str, status: str
):
    written("night-1", values).register(tracking_uri)
    failed(tracking_uri, status=status)
    (run,) = recorded(tracking_uri)
    assert run.info.status == "FINISHED"
    assert {"elboflow.step", "elboflow.failure"}.isdisjoint(tags(run))
    assert registered("digits", "night-1", tracking_uri)


def test_a_registration_that_broke_off_is_a_failure(
    written: Written, values: np.ndarray, tracking_uri: str, monkeypatch: pytest.MonkeyPatch
):
    import mlflow

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, "log_model_artifacts", stop)
        with pytest.raises(KeyboardInterrupt):
            written("night-1", values).register(tracking_uri)
    failed(tracking_uri, step="register", reason="the connection was lost")
    (run,) = recorded(tracking_uri)
    assert (run.info.status, tags(run)["elboflow.step"]) == ("FAILED", "register")
    assert not registered("digits", "night-1", tracking_uri)


def test_a_run_that_failed_and_then_succeeds_bears_no_trace_of_the_failure(
    written: Written, values: np.ndarray, tracking_uri: str
):
    failed(tracking_uri)
    result = written("night-1", values).register(tracking_uri)
    (run,) = recorded(tracking_uri)
    assert (run.info.run_id, run.info.status) == (result.run_id, "FINISHED")
    assert {"elboflow.step", "elboflow.failure"}.isdisjoint(tags(run))
    assert {"elboflow.dataset", "elboflow.weights", "elboflow.code"} <= tags(run).keys()
    assert run.data.metrics["test/elbo"] == -30
    assert not changed(DataConfig.model_validate({"source": "sklearn"}), EXPERIMENT, tracking_uri).changed


def test_a_skipped_run_leaves_nothing(tracking_uri: str):
    failed(tracking_uri, status="skipped", step=None, reason="nothing changed")
    assert recorded(tracking_uri) == []


def test_no_secret_goes_into_mlflow(tracking_uri: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "hunter2-S3CR3T")
    reason = "https://me:S3CR3T@mlflow.example refused hunter2-S3CR3T"
    failed(tracking_uri, reason=reason, link="https://me:S3CR3T@console.example/hunter2-S3CR3T")
    (run,) = recorded(tracking_uri)
    assert tags(run)["elboflow.failure"] == "https://***@mlflow.example refused ***"
    assert "S3CR3T" not in json.dumps(run.to_dictionary(), default=str)


def test_a_reason_of_any_length_and_kind_is_kept_as_far_as_mlflow_can(tracking_uri: str):
    failed(tracking_uri, reason="Traceback ✗\n" + "x" * 20_000)
    (run,) = recorded(tracking_uri)
    assert tags(run)["elboflow.failure"].startswith("Traceback ✗\nxxx")
    assert tags(run)["elboflow.failure"].endswith("x…")


@pytest.fixture
def told(tmp_path: Path) -> tuple[Command, Path]:
    file = tmp_path / "told.json"
    program = f"import sys; open({str(file)!r}, 'w').write(sys.stdin.read())"
    return Command(command=(sys.executable, "-c", program)), file


def test_the_notification_of_a_success_has_version_verdict_metrics_and_time(
    written: Written, values: np.ndarray, tracking_uri: str, told: tuple[Command, Path]
):
    notification, file = told
    result = written("night-1", values).register(tracking_uri)
    ended = RunEnd("night-1", "digits", "succeeded", link="/runs/night-1", target="local", seconds={"train": 41.5})
    finish(ended, EXPERIMENT, notification.model_copy(update={"when": "end"}), tracking_uri)
    sent = json.loads(file.read_text(encoding="utf-8"))
    assert (sent["model"], sent["version"], sent["promoted"]) == ("digits-vae", 1, True)
    assert (sent["target"], sent["link"]) == ("local", "/runs/night-1")
    assert (sent["seconds"]["train"], list(sent["seconds"])) == (41.5, ["train", "total"])
    assert sent["reason"] == result.reason
    assert sent["metrics"]["elbo"] == -30
    assert set(sent["metrics"]) == {"elbo", "reconstruction", "log_likelihood", "kl", "bits_per_dim", "active_units"}


def test_older_runs_have_the_ends_of_intervals_as_metrics_which_are_not_told():
    older = {"test/kl": 5, "test/kl_low": 4, "test/kl_high": 6, "validation/kl": 7, "train/kl_low": 8}
    assert of_test_split(older) == {"kl": 5}


@pytest.mark.parametrize(
    ("before", "recovered"), [([], False), (["failed"], True), (["cancelled"], True), (["failed", "registered"], False)]
)
def test_the_first_success_after_a_failure_is_told_as_a_recovery(
    before: list[str],
    recovered: bool,
    written: Written,
    values: np.ndarray,
    tracking_uri: str,
    told: tuple[Command, Path],
):
    notification, file = told
    for number, status in enumerate(before):
        if status == "registered":
            written(f"before-{number}", values).register(tracking_uri)
        else:
            failed(tracking_uri, f"before-{number}", status)
    written("night-1", values).register(tracking_uri)
    ended = RunEnd("night-1", "digits", "succeeded")
    finish(ended, EXPERIMENT, notification.model_copy(update={"when": ("recovered",)}), tracking_uri)
    assert file.exists() == recovered
    if recovered:
        assert json.loads(file.read_text(encoding="utf-8"))["recovered"] is True


def test_another_experiments_failure_in_the_same_mlflow_experiment_is_no_failure_of_this_one(
    written: Written, values: np.ndarray, tracking_uri: str, told: tuple[Command, Path]
):
    notification, file = told
    client = store.connect(tracking_uri)
    written("night-1", values).register(tracking_uri)
    (ours,) = recorded(tracking_uri)
    other = {names.RUN: "faces-1", names.EXPERIMENT: "faces"}
    trial = {names.RUN: "digits-trial", names.EXPERIMENT: "digits", names.TRIAL: "a trial"}
    for number, given in enumerate((other, trial), 1):
        began = ours.info.start_time - number
        run = client.create_run(ours.info.experiment_id, start_time=began, tags=given)
        client.set_terminated(run.info.run_id, "KILLED")
    ended = RunEnd("night-1", "digits", "succeeded")
    finish(ended, EXPERIMENT, notification.model_copy(update={"when": ("recovered",)}), tracking_uri)
    assert not file.exists()


def test_a_run_that_its_training_has_begun_gets_the_date_of_its_data(tracking_uri: str):
    begin(EXPERIMENT, "night-1", tracking_uri)
    begin(EXPERIMENT, "night-1", tracking_uri, job="a job", date="2026-11-29")
    begin(EXPERIMENT, "night-1", tracking_uri, date="2026-11-30")
    (run,) = recorded(tracking_uri)
    assert (tags(run)[names.DATE], tags(run)[names.JOB]) == ("2026-11-29", "a job")


def test_the_page_of_a_run_is_the_servers_without_a_password(tracking_uri: str):
    failed(tracking_uri)
    (run,) = recorded(tracking_uri)
    page = f"https://mlflow.example/app/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"
    assert run_page("https://ann:secret@mlflow.example/app/", run) == page
    report = run_page("https://ann:secret@mlflow.example/app/", run, "report.html")
    assert report == page.replace(run.info.run_id, f"{run.info.run_id}/artifacts/report.html")
    assert run_page(tracking_uri, run) is None


def test_it_tells_the_same_that_it_records(tracking_uri: str, told: tuple[Command, Path]):
    notification, file = told
    failed(tracking_uri, notification=notification)
    sent = json.loads(file.read_text(encoding="utf-8"))
    assert 0 <= sent.pop("seconds")["total"] < 60
    assert {name: value for name, value in sent.items() if value is not None} == {
        "run": "night-1",
        "experiment": "digits",
        "status": "failed",
        "step": "train",
        "reason": "the loss is not a number",
        "link": LINK,
    }


def test_it_tells_also_when_mlflow_is_gone(tmp_path: Path, told: tuple[Command, Path]):
    (tmp_path / "mlflow.db").write_bytes(b"this is no database" * 1000)
    notification, file = told
    with pytest.raises(WorkError, match="cannot use the MLflow at"):
        failed(f"sqlite:///{tmp_path}/mlflow.db", notification=notification)
    assert json.loads(file.read_text(encoding="utf-8"))["status"] == "failed"


def test_a_notification_that_fails_changes_nothing(tracking_uri: str):
    failed(tracking_uri, notification=Command(command=("false",)))
    assert [run.info.status for run in recorded(tracking_uri)] == ["FAILED"]
