"""Kubeflow's own runs in MLflow, one for a pipeline run and one for each task: ours stands below, and is one."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.decide import changed
from components.finish import begin, finish, registered
from components.registry.decisions.history import open_history
from components.surroundings.notify import RunEnd
from components.sweep.history import Sweep
from components.sweep.trial import Candidate
from components.tracking import live, platform_runs, store, tags
from components.tracking.live import Tracking
from elboflow.settings.variables import SECRETS
from preprocessing.config import DataConfig
from tests.components.runs import EXPERIMENT, Run

pytestmark = pytest.mark.xdist_group("mlflow")

Written = Callable[..., Run]
NIGHT, JOB = "night-1", "0f0e"
ELSEWHERE = "https://mlflow.platform.example"


class Kubeflow:
    """What Kubeflow does in MLflow, and tells a container.

    Attributes:
        top: The id of the pipeline run's run.
    """

    def __init__(self, tracking_uri: str, artifacts: Path, environment: pytest.MonkeyPatch) -> None:
        self.client = store.connect(tracking_uri)
        self._uri, self._environment = tracking_uri, environment
        self.experiment_id = self.client.create_experiment("pipelines", artifacts.as_uri())
        self.top = self.client.create_run(self.experiment_id, run_name="digits").info.run_id

    def starts(self, task: str, below: str | None = None, uri: str | None = None) -> str:
        """Makes a task's run, tells the container of it, and returns its id."""
        above = {"mlflow.parentRunId": below or self.top}
        run: str = self.client.create_run(self.experiment_id, run_name=task, tags=above).info.run_id
        told = {"MLFLOW_TRACKING_URI": uri or self._uri, "MLFLOW_EXPERIMENT_ID": self.experiment_id}
        told |= {"MLFLOW_RUN_ID": run, "MLFLOW_WORKSPACE": "team", "KFP_POD_NAME": f"digits-{task}"}
        for name, value in told.items():
            self._environment.setenv(name, value)
        return run

    def of_ours(self) -> list[Any]:
        """Returns our runs, in whatever experiment."""
        experiments = [each.experiment_id for each in self.client.search_experiments()]
        return [run for run in self.client.search_runs(experiments) if tags.EXPERIMENT in run.data.tags]


@pytest.fixture
def kubeflow(tracking_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kubeflow:
    return Kubeflow(tracking_uri, tmp_path / "artifacts", monkeypatch)


def test_all_steps_of_a_pipeline_run_write_into_one_run_below_the_platform_s(
    kubeflow: Kubeflow, tracking_uri: str, written: Written, values: np.ndarray, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    monkeypatch.setattr(live, "FLUSH_SECONDS", 60.0)
    monkeypatch.setattr(live, "SECONDS_BETWEEN_BATCHES", 1)
    kubeflow.starts("decide")
    begin(EXPERIMENT, NIGHT, tracking_uri, job=JOB)
    kubeflow.starts("train")
    output = tmp_path / JOB / "model"
    with live.curves(Tracking(tracking_uri, "digits"), tmp_path / "saved", output, "identity") as (tell,):
        tell("train", 1, 10, {"live": -100.0})
    kubeflow.starts("register")
    made = written(NIGHT, values).register(tracking_uri)
    kubeflow.starts("finish")
    assert registered("digits", NIGHT, tracking_uri)
    finish(RunEnd(NIGHT, "digits", "succeeded"), EXPERIMENT, None, tracking_uri)
    (ours,) = kubeflow.of_ours()
    assert (ours.info.run_id, ours.info.status) == (made.run_id, "FINISHED")
    assert ours.data.tags[tags.PARENT] == kubeflow.top
    assert ours.info.experiment_id == kubeflow.experiment_id
    assert ours.data.metrics["train/live"] == -100.0
    assert kubeflow.client.get_experiment_by_name("digits") is None
    assert kubeflow.client.get_run(kubeflow.top).info.status == "RUNNING", "which is Kubeflow's to end"


@pytest.mark.parametrize("step", ["register", "finish", "train"])
def test_whichever_step_makes_the_run_puts_it_below(
    kubeflow: Kubeflow, tracking_uri: str, written: Written, values: np.ndarray, tmp_path: Path, step: str,
    monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    monkeypatch.setattr(live, "FLUSH_SECONDS", 60.0)
    kubeflow.starts(step)
    if step == "register":
        written(NIGHT, values).register(tracking_uri)
    elif step == "finish":
        finish(RunEnd(NIGHT, "digits", "failed", step="train"), EXPERIMENT, None, tracking_uri)
    else:
        with live.curves(Tracking(tracking_uri, "digits"), tmp_path / "saved", tmp_path, "identity") as (tell,):
            tell("train", 1, 10, {"elbo": -100.0})
    (ours,) = kubeflow.of_ours()
    assert ours.data.tags[tags.PARENT] == kubeflow.top


def test_a_sweep_is_below_the_platform_s_run_and_its_trials_below_the_sweep(kubeflow: Kubeflow, tracking_uri: str):
    kubeflow.starts("begin")
    parent = Sweep(EXPERIMENT, "sweep-1", tracking_uri).open({"seed": "0,1"}, "digest")
    loop = kubeflow.starts("for-loop")
    kubeflow.starts("train", below=loop)
    trial = Sweep(EXPERIMENT, "sweep-1", tracking_uri).begin(
        Candidate({"seed": 0}, {**EXPERIMENT, "data": {}, "training": {}})
    )
    above = {run.info.run_id: run.data.tags[tags.PARENT] for run in kubeflow.of_ours()}
    assert above == {parent: kubeflow.top, trial: parent}


def test_a_run_made_by_a_task_in_a_loop_is_below_that_of_the_pipeline_run(kubeflow: Kubeflow, tracking_uri: str):
    loop = kubeflow.starts("for-loop")
    kubeflow.starts("begin", below=loop)
    begin(EXPERIMENT, NIGHT, tracking_uri)
    (ours,) = kubeflow.of_ours()
    assert ours.data.tags[tags.PARENT] == kubeflow.top


def test_with_another_mlflow_the_experiment_s_counts_is_asked_without_the_platform_s_workspace_and_names_the_other_run(
    kubeflow: Kubeflow, tracking_uri: str, monkeypatch: pytest.MonkeyPatch
):
    task = kubeflow.starts("decide", uri=f"{ELSEWHERE}/")
    begin(EXPERIMENT, NIGHT, tracking_uri)
    (ours,) = kubeflow.of_ours()
    assert tags.PARENT not in ours.data.tags
    page = f"{ELSEWHERE}/#/experiments/{kubeflow.experiment_id}/runs/{task}"
    assert ours.data.tags[platform_runs.PLATFORM_RUN] == page
    assert kubeflow.client.get_experiment(ours.info.experiment_id).name == "digits"
    assert "MLFLOW_WORKSPACE" not in os.environ
    monkeypatch.setenv(SECRETS, "MLFLOW_WORKSPACE")
    kubeflow.starts("register", uri=ELSEWHERE)
    store.connect(tracking_uri)
    assert os.environ["MLFLOW_WORKSPACE"] == "team", "which the experiment itself has given"


def test_outside_of_kubeflow_s_pods_the_variables_mean_nothing(
    kubeflow: Kubeflow, tracking_uri: str, monkeypatch: pytest.MonkeyPatch
):
    kubeflow.starts("a notebook")
    monkeypatch.delenv("KFP_POD_NAME")
    begin(EXPERIMENT, NIGHT, tracking_uri)
    (ours,) = kubeflow.of_ours()
    assert not {tags.PARENT, platform_runs.PLATFORM_RUN} & set(ours.data.tags)
    assert kubeflow.client.get_experiment(ours.info.experiment_id).name == "digits"


def test_a_run_that_mlflow_has_lost_has_none_below_it_and_fails_nothing(
    kubeflow: Kubeflow, tracking_uri: str, monkeypatch: pytest.MonkeyPatch
):
    kubeflow.starts("decide")
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
    begin(EXPERIMENT, NIGHT, tracking_uri)
    (ours,) = kubeflow.of_ours()
    assert tags.PARENT not in ours.data.tags


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("http://mlflow:5000", "http://MLflow:5000/", True),
        ("https://user:word@mlflow.example/ml/", "https://mlflow.example/ml", True),
        ("https://mlflow.example/ml", "https://mlflow.example/other", False),
        ("http://mlflow.example", "https://mlflow.example", False),
    ],
)
def test_addresses_are_compared_without_what_makes_no_difference(
    one: str, other: str, same: bool, monkeypatch: pytest.MonkeyPatch
):
    told = {"MLFLOW_TRACKING_URI": one, "MLFLOW_EXPERIMENT_ID": "0", "MLFLOW_RUN_ID": "1", "KFP_POD_NAME": "pod"}
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    assert (platform_runs.within(other) is not None) == same


def test_the_last_success_is_found_below_the_platform_s_runs_and_among_those_from_before(
    kubeflow: Kubeflow, tracking_uri: str, written: Written, values: np.ndarray, monkeypatch: pytest.MonkeyPatch
):
    data = DataConfig.model_validate({"source": "sklearn"})
    written("before", values).register(tracking_uri)
    kubeflow.starts("decide")
    assert "since run before" in changed(data, EXPERIMENT, tracking_uri).reason
    kubeflow.starts("register")
    written("other", values).register(tracking_uri, {**written("other-2", values).experiment, "name": "faces"})
    assert "since run before" in changed(data, EXPERIMENT, tracking_uri).reason, "the other is another experiment's"
    written("tonight", values + 1).register(tracking_uri)
    assert "since run tonight" in changed(data, EXPERIMENT, tracking_uri).reason


@pytest.mark.slow
def test_the_history_of_a_registered_model_is_one_over_all_nights(
    kubeflow: Kubeflow, tracking_uri: str, written: Written, values: np.ndarray
):
    for night, gain in (("night-1", 0.0), ("night-2", 1.0), ("night-3", -1.0)):
        kubeflow.starts("register")
        written(night, values + gain).register(tracking_uri)
    events = open_history(kubeflow.client, tracking_uri, "digits-vae").events
    assert [(event.version, event.champion) for event in events] == [(1, 1), (2, 2), (3, 2)]
    assert [look.hypothesis for event in events for look in event.looks] == [1, 2]
