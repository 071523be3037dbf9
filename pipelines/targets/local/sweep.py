"""A sweep on this machine.

A sweep has a folder of its own in the workspace, named after what it is a function of:

    sweeps/NAME-DIGEST/
      sweep.json          the run that is at work, or ended last, and the date of its data where they have one
      trials/DIGEST/      one folder per trial (components/sweep/trial.py)
      study.db            the study of Optuna

What the other steps make is in the run's folder, runs/RUN/STEP/, as that of any run.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter

from components.sweep import choose, trial
from elboflow.artifacts import DamagedError, lock, read_json, write_atomically
from elboflow.settings import RequestError, WorkError
from pipelines.experiment import Experiment
from pipelines.graphs.sweep import SearchSweep
from pipelines.sweeps.candidates import Plan
from pipelines.targets.local.execution import Run, execute, outcome
from pipelines.workspace import Workspace

STATE, LOCK, STUDY = "sweep.json", ".lock", "study.db"


@dataclass(frozen=True)
class Swept(Run):
    """A sweep that succeeded; its model is that of the best trial.

    Attributes:
        sweep: Its folder.
        trials: The trials, as `trials.json` has them.
        best: The values of the best.
        comparison: The report that compares the trials.
    """

    sweep: str
    trials: list[dict[str, Any]]
    best: dict[str, Any]
    comparison: str


def run(plan: Plan, workspace: Workspace) -> Swept:
    """Runs a sweep, or goes on with it where it was, and returns what it left behind.

    Raises:
        RequestError: The same sweep is at work already.
        StepError: A step failed, or no trial finished.
        KeyboardInterrupt: It was interrupted. Its processes have ended.
    """
    folder = _folder(plan, workspace)
    graph = SearchSweep(
        json.dumps(plan.over),
        plan.parallel,
        str(folder / "trials"),
        settings=json.dumps(asdict(plan.search)),
        study=str(folder / STUDY),
    )
    with _alone(folder, workspace):
        experiment = dated(plan, workspace)
        begun = _begun(folder, experiment)
        runner = execute(experiment, workspace, graph, name=begun.run)
        _write(folder, replace(begun, status="succeeded"))
    comparison = Path(runner.artifacts["comparison"].uri)
    trials: list[dict[str, Any]] = read_json(comparison / choose.TRIALS, list)
    return Swept(
        **vars(outcome(runner)),
        sweep=str(folder),
        trials=trials,
        best=next(tried["values"] for tried in trials if tried["best"]),
        comparison=str(comparison / choose.REPORT),
    )


def ended_trials(plan: Plan, run: str, workspace: Workspace) -> list[dict[str, Any]]:
    """Returns the trials of a run that did not come to its end, as `trials.json` would have them."""
    folders = trial.of_run(_folder(plan, workspace) / "trials", run)
    return [choose.listed(trial.read(folder), best=False) for folder in folders]


@contextmanager
def _alone(folder: Path, workspace: Workspace) -> Iterator[None]:
    """Keeps a second process from the same sweep, and `elboflow clean` from its folder. A kill releases the lock."""
    with workspace.beginning():
        folder.mkdir(parents=True, exist_ok=True)
        held = lock.hold(folder / LOCK, patience=0)
    if held is None and lock.is_held(folder / LOCK):
        raise RequestError(f"this sweep is at work already, in {folder}")
    try:
        yield
    finally:
        if held is not None:  # a file system without locks has none
            os.close(held)


@dataclass(frozen=True)
class State:
    """The run of a sweep; `date` is that of its data, which it keeps if it is resumed on another day."""

    run: str
    status: Literal["running", "succeeded"]
    date: str | None = None


_READ = TypeAdapter(State)


def dated(plan: Plan, workspace: Workspace) -> Experiment:
    """Returns the experiment of a sweep: of the date that it began with, if it did not come to its end, or of today."""
    unfinished = _unfinished(_folder(plan, workspace))
    if unfinished is None or unfinished.date is None:
        return plan.experiment.dated()
    return plan.experiment.model_copy(update={"date": unfinished.date})


def _folder(plan: Plan, workspace: Workspace) -> Path:
    return workspace.sweeps / plan.name


def _begun(folder: Path, experiment: Experiment) -> State:
    """Returns the run that did not come to its end, or a new one."""
    if (unfinished := _unfinished(folder)) is not None:
        return unfinished
    name = f"{experiment.name}-sweep-{datetime.now(UTC):%Y-%m-%d-%H-%M-%S-%f}"
    begun = State(name, "running", experiment.date)
    _write(folder, begun)
    return begun


def _unfinished(folder: Path) -> State | None:
    try:
        last = state_of(folder)
    except DamagedError as error:
        raise WorkError(
            f"{error}; without this file the sweep begins a new run, and keeps no trial of the last"
        ) from None
    return last if last is not None and last.status == "running" else None


def state_of(folder: Path) -> State | None:
    """Returns the run of the sweep in a folder; None before it has one.

    Raises:
        DamagedError: Its file is damaged.
    """
    try:
        return read_json(folder / STATE, _READ.validate_python)
    except FileNotFoundError:
        return None


def _write(folder: Path, state: State) -> None:
    values = {key: value for key, value in asdict(state).items() if value is not None}
    write_atomically(folder / STATE, json.dumps(values) + "\n")
