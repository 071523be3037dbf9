"""A search: a real study on disk, whose trainings are curves drawn here instead of trained."""

import json
import math
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest

from components.sweep import recorded_trial, trial
from components.sweep.trial import Candidate, Outcome
from elboflow.vae.watch import Watch
from pipelines.experiment import load
from pipelines.sweeps import study
from pipelines.sweeps.candidates import SearchSettings
from pipelines.sweeps.study import Settings

DIGITS = load("digits", ["training.epochs=10"]).recorded()
OVER = {"model.latent": "1..64", "training.gradient_clip": "null,1,10"}

Attempt = Callable[[Any, Candidate, Path, Any, Watch], Outcome]


class Recorded:
    """Stands for MLflow."""

    def __init__(self, run: str) -> None:
        self.run = run
        self.begun: list[str] = []
        self.ended: list[Outcome] = []

    def begin(self, candidate: Candidate) -> str:
        self.begun.append(candidate.digest)
        return candidate.digest

    def end(self, outcome: Outcome, curves: Any = None) -> None:
        self.ended.append(outcome)


@pytest.fixture
def searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Outcome]]:
    """Searches, and returns the outcomes of the run."""
    monkeypatch.setattr(study, "open_dataset", lambda *_: _Dataset)
    monkeypatch.setattr(study, "code_version", lambda: "0" * 40)
    monkeypatch.setattr(recorded_trial, "_end", lambda outcome, _, tracked: tracked.end(outcome))

    def search(
        attempt: Attempt, trials: int, run: str = "run", parallel: int = 1, prune: bool = True, over: Any = None
    ) -> list[Outcome]:
        tracked = Recorded(run)
        monkeypatch.setattr(recorded_trial, "attempt", attempt)
        database = tmp_path / ("study.db" if over is None else "another.db")
        settings = Settings(SearchSettings("tpe", trials, prune), parallel, str(database))
        study.search(tmp_path, DIGITS, over or OVER, settings, tmp_path / "trials", tracked)
        return [trial.read(folder) for folder in trial.of_run(tmp_path / "trials", run)]

    return search


class _Dataset:
    class manifest:  # noqa: N801  # stands for an attribute
        digest = "dataset"


def bound(candidate: Candidate) -> float:
    """A bound that is best at 16 latents, and with no clipping."""
    return -25.0 - abs(candidate.model.latent - 16) / 8 - (candidate.training.gradient_clip is not None)


def drawn(dataset: Any, candidate: Candidate, output: Path, tracked: Recorded, watch: Watch) -> Outcome:
    """A trial whose curve rises to its bound."""
    tracked.begin(candidate)
    before = trial._kept(output, candidate, tracked.run) if output.exists() else None
    if before is not None:
        return before
    elbo: list[float] = []
    status: trial.Status = "finished"
    for epoch in range(1, 11):
        elbo.append(bound(candidate) - 20 * math.exp(-epoch))
        if not watch(epoch, elbo[-1]):
            status = "pruned"
            break
    outcome = Outcome(candidate.digest, dict(candidate.values), tracked.run, status, tuple(elbo), 0.1)
    trial.write(output, outcome)
    return outcome


@pytest.fixture(autouse=True)
def without_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """Curves have no model folders to look into."""
    monkeypatch.setattr(trial.folder, "load", lambda _: None)


def states(tmp_path: Path) -> list[str]:
    (summary,) = optuna.get_all_study_summaries(f"sqlite:///{tmp_path}/study.db")
    kept = optuna.load_study(study_name=summary.study_name, storage=f"sqlite:///{tmp_path}/study.db")
    return [found.state.name for found in kept.trials]


@pytest.mark.slow
def test_a_search_comes_near_the_best_values(searched, tmp_path: Path):
    outcomes = searched(drawn, trials=30)
    best = max(outcomes, key=lambda outcome: outcome.elbo[-1])
    assert abs(best.values["model.latent"] - 16) <= 4
    assert best.values["training.gradient_clip"] is None
    assert len(states(tmp_path)) == 30


def test_trials_below_the_median_are_given_up_early_and_the_best_never(searched):
    outcomes = searched(drawn, trials=20)
    pruned = [outcome for outcome in outcomes if outcome.status == "pruned"]
    assert pruned
    assert all(1 < len(outcome.elbo) < 10 for outcome in pruned)
    finished = [outcome for outcome in outcomes if outcome.status == "finished"]
    assert max(finished, key=lambda outcome: outcome.elbo[-1]).elbo[-1] > max(outcome.elbo[-1] for outcome in pruned)


def test_without_pruning_every_trial_comes_to_its_end(searched):
    assert {len(outcome.elbo) for outcome in searched(drawn, trials=15, prune=False)} == {10}


def test_a_failed_trial_counts_and_does_not_end_the_search(searched, tmp_path: Path):
    def failing(dataset: Any, candidate: Candidate, output: Path, tracked: Recorded, watch: Watch) -> Outcome:
        if candidate.model.latent < 32:
            return drawn(dataset, candidate, output, tracked, watch)
        outcome = Outcome(candidate.digest, dict(candidate.values), tracked.run, "failed", (), 0.1, "inf")
        trial.write(output, outcome)
        return outcome

    outcomes = searched(failing, trials=10)
    assert {outcome.status for outcome in outcomes} >= {"failed", "finished"}
    assert len(states(tmp_path)) == 10
    assert "FAIL" in states(tmp_path)


def test_a_killed_search_goes_on_with_the_values_that_it_was_trying(searched, tmp_path: Path):
    tried: list[str] = []

    def killed(dataset: Any, candidate: Candidate, output: Path, tracked: Recorded, watch: Watch) -> Outcome:
        tried.append(candidate.digest)
        if len(tried) == 4:
            raise KeyboardInterrupt
        return drawn(dataset, candidate, output, tracked, watch)

    with pytest.raises(KeyboardInterrupt):
        searched(killed, trials=8)
    assert states(tmp_path).count("RUNNING") == 1
    outcomes = searched(killed, trials=8)
    assert tried[4] == tried[3], "the interrupted trial comes first"
    assert len(tried) == 9, "and none of those that had ended"
    assert states(tmp_path).count("RUNNING") == 0
    assert len(outcomes) == len({outcome.digest for outcome in outcomes}) == len(set(tried))


def test_a_search_that_is_done_takes_more_trials_and_tells_mlflow_of_all(searched, tmp_path: Path):
    first = searched(drawn, trials=4, run="first")
    more = searched(drawn, trials=6, run="second")
    assert {outcome.digest for outcome in first} <= {outcome.digest for outcome in more}
    assert len(states(tmp_path)) == 6


def test_trials_whose_folders_were_removed_count_no_more(searched, tmp_path: Path):
    for outcome in searched(drawn, trials=3, run="first"):
        (tmp_path / "trials" / outcome.digest / trial.OUTCOME).unlink()
    assert len(searched(drawn, trials=3, run="second")) == 3


def test_several_trials_are_at_work_at_once_and_never_two_of_the_same_values(searched):
    meet, at_work = threading.Barrier(3, timeout=30), set[str]()

    def together(dataset: Any, candidate: Candidate, output: Path, tracked: Recorded, watch: Watch) -> Outcome:
        assert candidate.digest not in at_work
        at_work.add(candidate.digest)
        if not output.exists():
            meet.wait()
        outcome = drawn(dataset, candidate, output, tracked, watch)
        at_work.remove(candidate.digest)
        return outcome

    assert len(searched(together, trials=3, parallel=3)) == 3
    few = {"model.latent": "2,3"}
    meet = threading.Barrier(1)
    assert len(searched(together, trials=9, parallel=3, over=few, run="few")) == 2


def test_the_study_holds_no_pickles(searched, tmp_path: Path):
    searched(drawn, trials=2)
    content = (tmp_path / "study.db").read_bytes()
    assert content.startswith(b"SQLite format 3")
    assert b"\x80\x04\x95" not in content
    assert json.dumps("dataset " + "0" * 40).strip('"').encode() in content
