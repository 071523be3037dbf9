"""This machine: the pipeline through KFP's own runners, each step a process of this Python or a container."""

import json
import logging
import os
import signal
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from components.surroundings.masking import masked, without_userinfo
from components.tracking import liveness
from elboflow.artifacts import lock, read_json, write_atomically
from elboflow.settings import RequestError, WorkError
from pipelines.experiment import Experiment
from pipelines.screen import Log, Screen
from pipelines.targets import StepState
from pipelines.targets.local import begun, killed
from pipelines.targets.local.client import NAME, new_name
from pipelines.targets.local.kfp_changes import any_bytes, named, outputs_read_once, remove_outputs
from pipelines.targets.local.process import Process
from pipelines.targets.local.record import EXPERIMENT, LOCK, STEPS, Record
from pipelines.targets.local.surroundings import surroundings, tracking_uri
from pipelines.workspace import Workspace

logger = logging.getLogger("elboflow.run")

SECONDS_TO_TELL = 10.0
"""Seconds that MLflow has to take how a run ended: a step may have waited for it already."""

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
    """A step of a run failed."""

    def __init__(self, run: str, step: str, reason: str) -> None:
        super().__init__(f"{step} failed: {reason}")
        self.run, self.step, self.reason = run, step, reason


def run(experiment: Experiment, workspace: Workspace, image: str | None = None) -> Run:
    """Runs the pipeline and returns what it left behind.

    Args:
        experiment: The experiment.
        workspace: Where everything goes.
        image: The image of the containers that the steps run in; None for processes of this Python.

    Raises:
        StepError: A step failed.
        KeyboardInterrupt: It was interrupted. Its processes have ended.
    """
    started = time.monotonic()
    name = os.environ.pop(NAME, None) or new_name(experiment.name)
    with (
        recorded(name, experiment, workspace) as moved,
        surroundings(experiment, name) as key,
        Screen(moved, key, workspace.runs / name) as screen,
    ):
        outputs = _execute(name, experiment, workspace, screen, image)
    evaluation = Path(outputs["evaluation"].path)
    metrics = read_json(evaluation / "metrics.json", values_of)
    registered = outputs["registration"].metadata
    return Run(
        run=name,
        status="succeeded",
        dataset=outputs["dataset"].path,
        model=outputs["model"].path,
        evaluation=str(evaluation),
        report=str(Path(outputs["registration"].path) / "report.html"),
        mlflow={**registered, "version": int(registered["version"])},  # KFP's metadata know no whole numbers
        metrics=metrics,
        seconds={**screen.seconds, "total": round(time.monotonic() - started, 1)},
    )


def values_of(metrics: dict[str, dict[str, float]]) -> dict[str, float]:
    """Returns the values of an evaluation's `metrics.json` by name, without their intervals."""
    return {name: metric["value"] for name, metric in metrics.items()}


@contextmanager
def recorded(
    name: str, experiment: Experiment, workspace: Workspace, planned: tuple[str, ...] = STEPS
) -> Iterator[Callable[[Sequence[StepState]], None]]:
    """Keeps the record of a run, up to its end, which is also told to MLflow and to whom it concerns.

    Args:
        name: The run's name.
        experiment: The experiment.
        workspace: Where the record goes.
        planned: The names of the run's steps, in their order.

    Yields:
        What is to be called whenever a step has begun or ended, with all that have begun.
    """
    place = tracking_uri(experiment, workspace)
    record = Record(
        run=name,
        experiment=experiment.name,
        process=Process.current(),
        status="running",
        created=datetime.now(UTC),
        planned=planned,
        tracking_uri=None if place == workspace.tracking_uri else without_userinfo(place),
    )
    at_work = _lock(record, experiment, workspace)
    if planned == STEPS:  # a sweep makes its own, below which its trials stand
        begun.record(record, experiment, place)

    def moved(steps: Sequence[StepState]) -> None:
        nonlocal record
        record = record.at(steps)
        record.write(workspace.runs)

    try:
        yield moved
    except KeyboardInterrupt as interrupt:
        number = interrupt.args[0] if interrupt.args else signal.SIGINT
        record = record.over("cancelled", f"ended by {signal.Signals(number).name}")
        record.write(workspace.runs)
        if experiment.notify is not None:
            _finish(record, "cancelled", None, experiment, workspace)
        else:  # a person who interrupts is not kept waiting for MLflow
            killed.record(record, experiment.recorded(), workspace, place)
        raise
    except BaseException as error:
        step, reason = (error.step, error.reason) if isinstance(error, StepError) else (None, str(error))
        record = record.over("failed", reason)
        record.write(workspace.runs)
        _finish(record, "failed", step, experiment, workspace)
        raise
    else:
        record = record.over("succeeded")
        if experiment.notify is not None:
            _finish(record, "succeeded", None, experiment, workspace)
    finally:
        remove_outputs(workspace.runs / name)
        record.write(workspace.runs)
        os.environ.pop(liveness.VARIABLE, None)
        if at_work is not None:
            os.close(at_work)


def _lock(record: Record, experiment: Experiment, workspace: Workspace) -> int | None:
    """Locks a file for as long as this process is there, names it to the steps, and writes the first record."""
    folder = workspace.runs / record.run
    with suppress(OSError):  # that the disk is full is for a step to say
        text = json.dumps(experiment.recorded(), indent=2) + "\n"
        write_atomically(folder / EXPERIMENT, masked(text))
    held = lock.hold(folder / LOCK)
    if held is not None:
        os.environ[liveness.VARIABLE] = str(folder / LOCK)
    record.write(workspace.runs)
    return held


def _finish(
    record: Record,
    status: Literal["succeeded", "failed", "cancelled"],
    step: str | None,
    experiment: Experiment,
    workspace: Workspace,
) -> None:
    from components.finish import finish
    from components.surroundings import servers
    from components.surroundings.notify import RunEnd

    link, place = str(workspace.runs / record.run), tracking_uri(experiment, workspace)
    try:
        with servers.within(SECONDS_TO_TELL):
            ending = RunEnd(record.run, experiment.name, status, step, record.reason, link, "local")
            finish(ending, experiment.recorded(), experiment.notify, place)
    except (RequestError, WorkError) as error:
        logger.warning("how the run ended is not in MLflow: %s", error)


def _execute(
    name: str, experiment: Experiment, workspace: Workspace, screen: Screen, image: str | None
) -> dict[str, Any]:
    from kfp import local

    from pipelines.targets.local import docker
    from pipelines.training import arguments, pipeline

    warnings.filterwarnings("ignore", module="kfp")
    scratch = tempfile.mkdtemp(dir=os.environ["TMPDIR"])  # KFP removes it at the end of the run
    runner = local.SubprocessRunner(use_venv=False) if image is None else docker.runner(experiment, workspace, name)
    local.init(runner, pipeline_root=str(workspace.runs), workspace_root=scratch)
    graph = pipeline(experiment.name)
    if image is not None:
        for executor in graph.pipeline_spec.deployment_spec["executors"].values():
            executor["container"]["image"] = image
    given = arguments(experiment, str(workspace.datasets), tracking_uri(experiment, workspace))
    try:
        explained = nullcontext() if image is None else docker.explained()
        with named(name), any_bytes(), outputs_read_once(), explained:
            return graph(**given).outputs
    except KeyboardInterrupt:
        _stop(screen.process) if image is None else docker.stop(name)
        raise
    except RuntimeError as error:
        if isinstance(error, WorkError) and screen.step is not None:
            raise StepError(name, screen.step, str(error)) from error
        if screen.step is None or screen.step in screen.seconds:
            raise
        raise StepError(name, screen.step, reason(screen.errors, screen.log)) from None


def reason(errors: list[str], log: Log) -> str:
    """Returns why a step failed: what it said of it, or else what its log shows."""
    if errors:
        return "\n".join(errors)
    lines = [line for line in log.last if line.strip()]
    if log.path is None:
        return "\n".join(["its process ended before it began", *lines[-LAST_WORDS:]])
    if any(line.startswith("Traceback") for line in lines):
        return "\n".join([*lines[-LAST_WORDS:], f"(unexpected; everything it printed is in {log.path})"])
    return f"its process ended without a word, as when it is killed or memory runs out; its log is {log.path}"


def _stop(process: Process | None, patience: float = 10.0) -> None:
    """Ends the step at work and waits until it has gone: an interrupt may have reached this process alone.

    The first request lets a training save its state; the second ends it at once.
    """
    if process is not None and not process.end(patience):
        process.signal(signal.SIGKILL)
