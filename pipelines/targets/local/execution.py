"""This machine: the pipeline through KFP's own SubprocessRunner, each step a process of this Python."""

import json
import os
import signal
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pipelines.experiment import Experiment
from pipelines.process import RUN_PROCESS, quieten
from pipelines.screen import Screen
from pipelines.workspace import Workspace
from settings import WorkError

LAST_WORDS = 15
"""Lines of a step's log that are shown when it failed without an error of ours."""


@dataclass(frozen=True)
class Run:
    """A run that succeeded.

    Attributes:
        run: Its name, which is its folder under the workspace's `runs/`.
        status: `succeeded`.
        dataset: The dataset folder.
        model: The model folder.
        evaluation: The evaluation folder.
        report: The evaluation's report.
        mlflow: What was registered: tracking_uri, run_id, model, version, promoted, reason.
        metrics: The metrics' values by name, in nats unless the name says otherwise.
        seconds: Wall time of each step, and `total`.
    """

    run: str
    status: Literal["succeeded"]
    dataset: str
    model: str
    evaluation: str
    report: str
    mlflow: dict[str, Any]
    metrics: dict[str, float]
    seconds: dict[str, float]


class StepError(WorkError):
    """A step of a run failed. `run` is None where it failed before it could say in which run."""

    def __init__(self, run: str | None, step: str, reason: str) -> None:
        super().__init__(f"{step} failed: {reason}")
        self.run, self.step, self.reason = run, step, reason


def run(experiment: Experiment, workspace: Workspace) -> Run:
    """Runs the pipeline and returns what it left behind.

    Raises:
        StepError: A step failed.
        KeyboardInterrupt: It was interrupted. Its processes have ended.
    """
    started = time.monotonic()
    with _surroundings_of_steps(), Screen() as screen:
        outputs = _execute(experiment, workspace, screen)
    evaluation = Path(outputs["evaluation"].path)
    metrics = json.loads((evaluation / "metrics.json").read_text())
    registered = outputs["registration"].metadata
    return Run(
        run=screen.run or experiment.name,
        status="succeeded",
        dataset=outputs["dataset"].path,
        model=outputs["model"].path,
        evaluation=str(evaluation),
        report=str(evaluation / "report.html"),
        mlflow={**registered, "version": int(registered["version"])},  # KFP's metadata know no whole numbers
        metrics={name: metric["value"] for name, metric in metrics.items()},
        seconds={**screen.seconds, "total": round(time.monotonic() - started, 1)},
    )


@contextmanager
def _surroundings_of_steps() -> Iterator[None]:
    """Sets the environment that steps inherit. KFP leaves temporary files behind: they get a folder that goes with the
    run."""
    before = dict(os.environ)
    quieten()
    os.environ[RUN_PROCESS] = str(os.getpid())
    with tempfile.TemporaryDirectory(prefix="elboflow-", ignore_cleanup_errors=True) as temporary:
        os.environ["TMPDIR"] = temporary
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)


def _execute(experiment: Experiment, workspace: Workspace, screen: Screen) -> dict[str, Any]:
    from kfp import local

    from pipelines.training import arguments, pipeline

    warnings.filterwarnings("ignore", module="kfp")
    scratch = tempfile.mkdtemp(dir=os.environ["TMPDIR"])  # KFP removes it at the end of the run
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(workspace.runs), workspace_root=scratch)
    graph = pipeline(experiment.name)
    try:
        return graph(**arguments(experiment, str(workspace.datasets), workspace.tracking_uri)).outputs
    except KeyboardInterrupt:
        _stop(screen.process)
        raise
    except RuntimeError:
        if screen.step is None or screen.step in screen.seconds:
            raise
        raise StepError(screen.run, screen.step, _reason(screen)) from None


def _reason(screen: Screen) -> str:
    if screen.errors:
        return "\n".join(screen.errors)
    log = screen.log
    if log.path is None:
        return "its process ended before it began"
    lines = [line for line in log.last if line.strip()]
    if any(line.startswith("Traceback") for line in lines):
        return "\n".join([*lines[-LAST_WORDS:], f"(unexpected; everything it printed is in {log.path})"])
    return f"its process ended without a word, as when it is killed or memory runs out; its log is {log.path}"


def _stop(process: int | None, patience: float = 5.0) -> None:
    """Ends the step at work and waits until it has gone: an interrupt may have reached this process alone."""
    if process is None:
        return
    for way in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            try:
                os.kill(process, way)
            except ProcessLookupError:
                return
            time.sleep(0.05)
