"""The end of a sweep: the best by validation bound, its model, the comparison, and what MLflow keeps of it."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest

from components.config import RegistryConfig
from components.register import register
from components.sweep import choose, recorded_trial, trial
from components.sweep.history import Sweep
from components.sweep.trial import Candidate, Outcome
from elboflow.settings import WorkError
from elboflow.vae import folder
from tests.components.runs import Run

pytestmark = pytest.mark.xdist_group("sweep")

EXPERIMENT: dict[str, Any] = {"name": "digits", "data": {}, "model": {}, "training": {}, "seed": 0}
EXPERIMENT["tags"] = {"day": "{date:%d}"}
OVER = {"model.latent": "2,4,8"}
ELBO = {2: (-31.0, -30.0), 4: (-30.5, -28.0, -29.0), 8: (-33.0, -29.0)}


@pytest.fixture
def trials(written: Callable[..., Run], values: np.ndarray) -> Callable[..., dict[int, Path]]:
    """Writes the folders of trials, each with a model of its own, and one that is pruned, and one that failed."""

    def write(tracked: Sweep) -> dict[int, Path]:
        folders = {}
        for latent, elbo in ELBO.items():
            run = written(f"trial-{latent}", values)
            folders[latent] = run.model.parent
            keep(tracked, latent, "finished", elbo, run.model.parent)
        for latent, status, elbo in ((16, "pruned", (-20.0,)), (32, "failed", ())):
            folders[latent] = run.model.parent.with_name(f"trial-{latent}")
            keep(tracked, latent, status, elbo, folders[latent])
        return folders

    return write


def keep(tracked: Sweep, latent: int, status: Any, elbo: tuple[float, ...], to: Path) -> None:
    candidate = Candidate({"model.latent": latent}, {**EXPERIMENT, "model": {"latent": latent}})
    reason = "training stopped at step 3 of epoch 1: the kl became inf" if status == "failed" else None
    outcome = Outcome(candidate.digest, dict(candidate.values), "another run", status, elbo, 1.5, reason)
    trial.write(to, outcome)
    recorded_trial.take_over(candidate, to, tracked)


@pytest.fixture
def tracked(tracking_uri: str) -> Sweep:
    recorded = Sweep(EXPERIMENT, "digits-sweep-1", tracking_uri)
    recorded.open(OVER, "digest", "2026-11-28")
    return recorded


@pytest.fixture
def parent(tracked: Sweep) -> str:
    """The id of its run."""
    return tracked.open(OVER, "digest", "2026-11-29")  # resumed after midnight


def chosen(tracked: Sweep, folders: list[Path], to: Path) -> Outcome:
    return choose.choose(folders, EXPERIMENT, OVER, tracked, to / "model", to / "comparison")


def test_the_best_finished_trial_is_chosen_with_its_model(trials, tracked: Sweep, tmp_path: Path):
    folders = trials(tracked)
    best = chosen(tracked, list(folders.values()), tmp_path)
    assert best.values == {"model.latent": 4}, "a pruned trial is no candidate, however good it looked"
    assert best.bound == -28.0
    assert folder.load(tmp_path / "model").weights == folder.load(folders[4] / "model").weights
    listed = json.loads((tmp_path / "comparison/trials.json").read_text(encoding="utf-8"))
    assert [tried["values"]["model.latent"] for tried in listed] == [4, 8, 2, 16, 32]
    assert [tried["best"] for tried in listed] == [True, False, False, False, False]


def test_mlflow_has_a_run_per_trial_below_that_of_the_sweep(
    trials, tracked: Sweep, parent: str, tracking_uri: str, tmp_path: Path
):
    folders = trials(tracked)
    best = chosen(tracked, list(folders.values()), tmp_path)
    client = mlflow.MlflowClient(tracking_uri)
    experiment = client.get_experiment_by_name("digits")
    children = client.search_runs([experiment.experiment_id], f"tags.`mlflow.parentRunId` = '{parent}'")
    by_latent = {int(run.data.params["model.latent"]): run for run in children}
    states = {latent: run.info.status for latent, run in by_latent.items()}
    assert states == {2: "FINISHED", 4: "FINISHED", 8: "FINISHED", 16: "KILLED", 32: "FAILED"}
    assert "the kl became inf" in by_latent[32].data.tags["elboflow.failure"]
    assert by_latent[4].data.metrics["validation/best_elbo"] == -28.0
    curve = client.get_metric_history(by_latent[2].info.run_id, "train/elbo")
    assert [(point.step, point.value) for point in curve] == [(1, -40.0), (2, -30.0)], "the curves of its model folder"
    tags = client.get_run(parent).data.tags
    dates = {(each["elboflow.date"], each["day"]) for each in (tags, *(run.data.tags for run in children))}
    assert dates == {("2026-11-28", "28")}, "the day that the sweep began on"
    assert tags["elboflow.best_run"] == by_latent[4].info.run_id
    assert tags["elboflow.best_trial"] == best.digest
    assert {file.path for file in client.list_artifacts(parent, "sweep")} >= {
        "sweep/report.html",
        "sweep/trials.json",
    }


def test_the_version_of_the_best_belongs_to_the_run_of_the_sweep(
    written: Callable[..., Run], values: np.ndarray, tracked: Sweep, parent: str, tracking_uri: str, tmp_path: Path
):
    run = written("trial-4", values)
    keep(tracked, 4, "finished", ELBO[4], run.model.parent)
    chosen(tracked, [run.model.parent], tmp_path)
    registered = register(
        run.dataset,
        tmp_path / "model",
        run.evaluation,
        RegistryConfig(canary=False, baseline=False),
        run.experiment,
        tracked.run,
        tracking_uri,
    )
    assert registered.run_id == parent
    assert mlflow.MlflowClient(tracking_uri).get_run(parent).info.status == "FINISHED"


def test_a_sweep_without_a_finished_trial_fails_with_the_first_reason(
    tracked: Sweep, parent: str, tracking_uri: str, tmp_path: Path
):
    keep(tracked, 32, "failed", (), tmp_path / "trial")
    with pytest.raises(WorkError, match=r"none of 1 trial finished; the first failed because: .*kl became inf"):
        chosen(tracked, [tmp_path / "trial"], tmp_path)
    assert mlflow.MlflowClient(tracking_uri).get_run(parent).info.status == "FAILED"
    assert not (tmp_path / "model").exists()
    assert "No trial finished" in (tmp_path / "comparison/report.html").read_text(encoding="utf-8")


def test_a_trial_whose_process_was_killed_before_it_wrote_its_values_has_them_after_the_next_try(
    tracked: Sweep, tracking_uri: str, monkeypatch: pytest.MonkeyPatch
):
    def killed(*_: object) -> None:
        raise SystemExit

    candidate = Candidate({"model.latent": 2}, {**EXPERIMENT, "model": {"latent": 2}})
    with monkeypatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, "log_param", killed)
        with pytest.raises(SystemExit):
            tracked.begin(candidate)
    made = mlflow.MlflowClient(tracking_uri).get_run(tracked.begin(candidate))
    assert made.data.params == {"model.latent": "2"}
    assert made.info.run_name == "model.latent=2"


def test_recording_twice_has_the_effect_of_once(tracked: Sweep, parent: str, tracking_uri: str, tmp_path: Path):
    candidate = Candidate({"seed": 1}, {**EXPERIMENT, "seed": 1})
    failed = Outcome(candidate.digest, {"seed": 1}, tracked.run, "failed", (), 1.0, "no space is left on the disk")
    again = Sweep(EXPERIMENT, tracked.run, tracking_uri)
    assert again.open(OVER, "digest") == parent
    first = tracked.begin(candidate)
    tracked.end(failed)
    assert again.begin(candidate) == first
    again.end(replace(failed, status="finished", elbo=(-30.0,), reason=None))
    run = mlflow.MlflowClient(tracking_uri).get_run(first)
    assert run.info.status == "FINISHED"
    assert "elboflow.failure" not in run.data.tags
    assert run.data.tags["elboflow.status"] == "finished"
