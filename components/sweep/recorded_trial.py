"""Trials that MLflow records, from their beginning to their outcome."""

from dataclasses import replace
from pathlib import Path

from components.sweep import trial
from components.sweep.history import Sweep
from components.sweep.trial import Candidate, Outcome
from elboflow.vae import folder
from elboflow.vae.watch import Watch


def attempt(
    dataset: Path | str, candidate: Candidate, output: Path, tracked: Sweep, watch: Watch | None = None
) -> Outcome:
    """Tries a candidate (`trial.attempt`) and records the trial in MLflow, from its beginning."""
    tracked.begin(candidate)
    outcome = trial.attempt(dataset, candidate, output, tracked.run, watch)
    _end(outcome, output, tracked)
    return outcome


def take_over(candidate: Candidate, output: Path, tracked: Sweep) -> Outcome:
    """Makes an outcome of an earlier run one of this run, as it is.

    Raises:
        WorkError: There is none in the folder, or it is damaged.
    """
    found = trial.read(output)
    if found.run != tracked.run:
        found = replace(found, run=tracked.run)
        tracked.begin(candidate)
        _end(found, output, tracked)
        trial.write(output, found)
    return found


def _end(outcome: Outcome, output: Path, tracked: Sweep) -> None:
    curves = folder.load(output / trial.MODEL).curves if outcome.status == "finished" else None
    tracked.end(outcome, curves)
