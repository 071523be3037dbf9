"""A sweep on this machine, through KFP's own SubprocessRunner.

A sweep has a folder of its own in the workspace, named after what it is a function of:

    sweeps/NAME-DIGEST/
      sweep.json          the run that is at work, or ended last
      trials/DIGEST/      one folder per trial (components/sweep/trial.py)
      study.db            the study of a search

What the other steps make is in the run's folder, runs/RUN/STEP/, as that of any run.
"""

import fcntl
import json
import logging
import os
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from components.sweep import choose, trial
from elboflow.artifacts import DamagedError, read_json, write_atomically
from elboflow.settings import RequestError, WorkError
from pipelines.sweeps.plan import Plan
from pipelines.sweeps.screen import Screen
from pipelines.targets.local.execution import StepError, reason, recorded, values_of
from pipelines.targets.local.kfp_changes import any_bytes, named, outputs_read_once
from pipelines.targets.local.surroundings import surroundings, tracking_uri
from pipelines.workspace import Workspace

logger = logging.getLogger("elboflow.sweep")

STATE, LOCK, STUDY = "sweep.json", ".lock", "study.db"
GRID = ("preprocess", "begin", "trials", "choose", "evaluate", "register")
SEARCH = ("preprocess", "begin", "search", "choose-found", "evaluate", "register")


@dataclass(frozen=True)
class Swept:
    """A sweep that succeeded.

    Attributes:
        run: Its run's name.
        status: `succeeded`.
        sweep: Its folder.
        trials: The trials, as `trials.json` has them.
        best: The values of the best.
        comparison: The report that compares the trials.
        dataset: The dataset folder.
        model: The model folder of the best.
        evaluation: Its evaluation folder.
        report: Its evaluation's report.
        mlflow: What was registered: tracking_uri, run_id, model, version, promoted, reason.
        metrics: The metrics' values by name, in nats unless the name says otherwise.
        seconds: Wall time of each step, and `total`.
    """

    run: str
    status: Literal["succeeded"]
    sweep: str
    trials: list[dict[str, Any]]
    best: dict[str, Any]
    comparison: str
    dataset: str
    model: str
    evaluation: str
    report: str
    mlflow: dict[str, Any]
    metrics: dict[str, float]
    seconds: dict[str, float]


def run(plan: Plan, workspace: Workspace) -> Swept:
    """Runs a sweep, or goes on with it where it was, and returns what it left behind.

    Raises:
        RequestError: The same sweep is at work already.
        StepError: A step failed, or no trial finished.
        KeyboardInterrupt: It was interrupted. Its processes have ended.
    """
    folder = workspace.folder / "sweeps" / plan.name
    count = plan.search.trials if plan.search else len(plan.trials)
    with _alone(folder):
        name = _begun(folder, plan)
        started = time.monotonic()
        with (
            recorded(name, plan.experiment, workspace, SEARCH if plan.search else GRID) as moved,
            surroundings(plan.experiment) as key,
            Screen(folder / "trials", count, moved, key, workspace.runs / name) as screen,
        ):
            outputs = _execute(plan, name, folder, workspace, screen)
        write_atomically(folder / STATE, json.dumps({"run": name, "status": "succeeded"}) + "\n")
    evaluation, comparison = Path(outputs["evaluation"].path), Path(outputs["comparison"].path)
    trials: list[dict[str, Any]] = read_json(comparison / choose.TRIALS, list)
    registered = outputs["registration"].metadata
    return Swept(
        run=name,
        status="succeeded",
        sweep=str(folder),
        trials=trials,
        best=next(tried["values"] for tried in trials if tried["best"]),
        comparison=str(comparison / choose.REPORT),
        dataset=outputs["dataset"].path,
        model=outputs["model"].path,
        evaluation=str(evaluation),
        report=str(Path(outputs["registration"].path) / "report.html"),
        mlflow={**registered, "version": int(registered["version"])},  # KFP's metadata know no whole numbers
        metrics=read_json(evaluation / "metrics.json", values_of),
        seconds={**screen.seconds, "total": round(time.monotonic() - started, 1)},
    )


def ended_trials(plan: Plan, run: str, workspace: Workspace) -> list[dict[str, Any]]:
    """Returns the trials of a run that did not come to its end, as `trials.json` would have them."""
    folders = trial.of_run(workspace.folder / "sweeps" / plan.name / "trials", run)
    return [choose.listed(trial.read(folder), best=False) for folder in folders]


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keeps a second process from the same sweep. A kill releases the lock."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / LOCK, "w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RequestError(f"this sweep is at work already, in {folder}") from None
        yield


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


def _execute(plan: Plan, name: str, folder: Path, workspace: Workspace, screen: Screen) -> dict[str, Any]:
    from kfp import local

    from pipelines.sweeps import graph
    from pipelines.sweeps.loops import loops

    warnings.filterwarnings("ignore", module="kfp")
    scratch = Path(os.environ["TMPDIR"]) / "workspace"  # KFP removes it at the end of the run
    scratch.mkdir()
    runner = local.SubprocessRunner(use_venv=False)
    local.init(runner, pipeline_root=str(workspace.runs), workspace_root=str(scratch))
    given = graph.arguments(
        plan.experiment,
        plan.over,
        dataset_root=str(workspace.datasets),
        trials_root=str(folder / "trials"),
        tracking_uri=tracking_uri(plan.experiment, workspace),
    )
    if plan.search is None:
        pipeline = graph.grid(f"{plan.experiment.name}-sweep", plan.parallel)
        given["trials"] = graph.values(plan.trials)
    else:
        pipeline = graph.search(f"{plan.experiment.name}-sweep")
        given |= {
            "settings": json.dumps(asdict(plan.search)),
            "parallel": plan.parallel,
            "study": str(folder / STUDY),
        }
    try:
        with named(name), any_bytes(), outputs_read_once(), loops(screen.stop):
            return pipeline(**given, run=name).outputs
    except KeyboardInterrupt:
        screen.stop()
        raise
    except RuntimeError:
        if screen.last is None:
            raise
        raise StepError(name, screen.last.name, reason(screen.last.errors, screen.last.log)) from None
