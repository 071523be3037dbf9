"""One trial: whatever becomes of its training is an outcome, and what is done is not done again."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from components.sweep import trial, trial_process
from components.sweep.history import Sweep
from components.sweep.recorded_trial import attempt_again
from components.sweep.trial import Candidate
from elboflow.settings import WorkError
from elboflow.vae.config import Constant, TrainingConfig
from tests.components.runs import SMALL_MODEL

pytestmark = pytest.mark.xdist_group("sweep")


def candidate(**changes: Any) -> Candidate:
    training = TrainingConfig(epochs=3, batch_size=64, learning_rate=Constant(initial=3e-3))
    values = {"data": {}, "model": SMALL_MODEL.model_dump(mode="json"), "training": training.model_dump(mode="json")}
    return Candidate({"seed": 0}, {**values, "seed": 0, **changes})


def unknown_input() -> Candidate:
    """A training that fails at once, before any framework is imported."""
    return candidate(model={**SMALL_MODEL.model_dump(mode="json"), "input": "sound"})


def test_a_training_that_fails_is_an_outcome_with_its_reason(dataset: Path, tmp_path: Path):
    outcome = trial.attempt(dataset, unknown_input(), tmp_path, "run")
    assert outcome.status == "failed"
    assert outcome.reason is not None
    assert "'sound'" in outcome.reason
    assert trial.read(tmp_path) == outcome


def test_a_failure_is_tried_again_and_a_success_of_the_same_run_is_kept(dataset: Path, tmp_path: Path, monkeypatch):
    ends = iter(["failed", "pruned"])
    monkeypatch.setattr(trial_process, "train", lambda *_: trial_process.Ended(next(ends), (-30.0, -29.0)))
    assert trial.attempt(dataset, candidate(), tmp_path, "run").status == "failed"
    second = trial.attempt(dataset, candidate(), tmp_path, "run")
    assert second.status == "pruned"
    assert trial.attempt(dataset, candidate(), tmp_path, "run") == second, "nothing more is trained"
    with pytest.raises(StopIteration):
        trial.attempt(dataset, candidate(), tmp_path, "another run")


def test_a_training_whose_process_dies_is_tried_again_and_one_that_fails_with_a_reason_is_not(
    dataset: Path, tmp_path: Path, monkeypatch
):
    died = trial_process.Ended("failed", (), "its process was killed", died=True)
    failed = trial_process.Ended("failed", (), "the kl became inf")
    ends = iter([died, failed, died, died])
    monkeypatch.setattr(trial_process, "train", lambda *_: next(ends))
    assert trial.attempt(dataset, candidate(), tmp_path, "run", waits=iter([0.0, 0.0])).reason == failed.reason
    assert trial.attempt(dataset, candidate(), tmp_path, "run", waits=iter([0.0])).reason == died.reason
    assert next(ends, None) is None


def test_a_trial_is_tried_again_while_mlflow_is_away_and_no_more_often_than_asked(
    dataset: Path, tmp_path: Path, tracking_uri: str
):
    experiment: dict[str, Any] = {**unknown_input().experiment, "name": "digits"}
    away = 2

    def connect() -> Sweep:
        nonlocal away
        away -= 1
        if away >= 0:
            raise WorkError("MLflow is away")
        found = Sweep(experiment, "run", tracking_uri)
        found.open({}, "digest")
        return found

    with pytest.raises(WorkError, match="away"):
        attempt_again(dataset, unknown_input(), tmp_path, connect, [0.0])
    assert away == 0
    assert attempt_again(dataset, unknown_input(), tmp_path, connect, [0.0]).status == "failed"


def test_only_what_a_training_depends_on_names_a_trial():
    first = candidate()
    assert candidate(evaluation={"bound_samples": 3}).digest == first.digest
    assert candidate(seed=1).digest != first.digest
    assert candidate(data={"source": "sklearn"}).digest != first.digest


@pytest.mark.slow
def test_a_training_that_dies_is_an_outcome_and_the_next_try_trains_to_the_end(dataset: Path, tmp_path: Path):
    def kill(epoch: int, elbo: float) -> bool:
        children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text(encoding="utf-8").split()
        # Fixtures of other tests may have left servers to this process.
        (child,) = (c for c in children if b"components.sweep.trial_process" in Path(f"/proc/{c}/cmdline").read_bytes())
        os.kill(int(child), signal.SIGKILL)
        return True

    died = trial.attempt(dataset, candidate(), tmp_path, "run", kill)
    assert died.status == "failed"
    assert died.reason == "its process was killed, as when memory runs out; see its log"
    assert len(died.elbo) == 1
    told: list[int] = []
    pruned = trial.attempt(dataset, candidate(), tmp_path, "run", lambda epoch, _: told.append(epoch) or epoch < 2)
    assert (pruned.status, told, len(pruned.elbo)) == ("pruned", [1, 2], 2)
    finished = trial.attempt(dataset, candidate(), tmp_path, "another run")
    assert finished.status == "finished"
    assert finished.elbo[:2] == pruned.elbo, "it went on from the checkpoint"
    assert finished.bound == max(finished.elbo)
