"""A sweep on this machine.

A sweep has a folder of its own in the workspace, named after what it is a function of:

    sweeps/NAME-DIGEST/
      sweep.json          the run that is at work, or ended last
      trials/DIGEST/      one folder per trial (components/sweep/trial.py)
      study.db            the study of Optuna

What the other steps make is in the run's folder, runs/RUN/STEP/, as that of any run.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from components.sweep import choose, trial
from elboflow.artifacts import DamagedError, lock, read_json, write_atomically
from elboflow.settings import RequestError, WorkError
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
    folder = workspace.folder / "sweeps" / plan.name
    graph = SearchSweep(
        json.dumps(plan.over),
        plan.parallel,
        str(folder / "trials"),
        settings=json.dumps(asdict(plan.search)),
        study=str(folder / STUDY),
    )
    with _alone(folder):
        runner = execute(plan.experiment, workspace, graph, name=_begun(folder, plan))
        write_atomically(folder / STATE, json.dumps({"run": runner.run, "status": "succeeded"}) + "\n")
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
    folders = trial.of_run(workspace.folder / "sweeps" / plan.name / "trials", run)
    return [choose.listed(trial.read(folder), best=False) for folder in folders]


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keeps a second process from the same sweep. A kill releases the lock."""
    folder.mkdir(parents=True, exist_ok=True)
    held = lock.hold(folder / LOCK, patience=0)
    if held is None and lock.is_held(folder / LOCK):
        raise RequestError(f"this sweep is at work already, in {folder}")
    try:
        yield
    finally:
        if held is not None:  # a file system without locks has none
            os.close(held)


def _begun(folder: Path, plan: Plan) -> str:
    """Returns the name of the run: that of the one that did not come to its end, or a new one."""
    state = folder / STATE
    try:
        unfinished = read_json(state, _unfinished)
    except FileNotFoundError:
        unfinished = None
    except DamagedError as error:
        raise WorkError(
            f"{error}; without this file the sweep begins a new run, and keeps no trial of the last"
        ) from None
    if unfinished is not None:
        return unfinished
    name = f"{plan.experiment.name}-sweep-{datetime.now(UTC):%Y-%m-%d-%H-%M-%S-%f}"
    write_atomically(state, json.dumps({"run": name, "status": "running"}) + "\n")
    return name


def _unfinished(state: dict[str, Any]) -> str | None:
    if state["status"] not in ("running", "succeeded") or not isinstance(state["run"], str):
        raise ValueError(f"it says status {state['status']!r} and run {state['run']!r}")
    return None if state["status"] == "succeeded" else state["run"]
