"""A run of a graph on this machine."""

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from elboflow.artifacts import read_json
from elboflow.settings.variables import NEW_RUN
from pipelines.experiment import Experiment
from pipelines.graphs import Graph, PipelineInputs
from pipelines.graphs.training import TRAINING
from pipelines.targets.local.artifacts import Artifact
from pipelines.targets.local.cache import Cache
from pipelines.targets.local.client import new_name
from pipelines.targets.local.executor import StepProcess
from pipelines.targets.local.recording import recorded
from pipelines.targets.local.resumption import WHOLE, Part
from pipelines.targets.local.runner import DoneError, Runner, Start
from pipelines.targets.local.screen import Screen
from pipelines.targets.local.surroundings import surroundings, tracking_uri
from pipelines.workspace import Workspace


@dataclass(frozen=True)
class Run:
    """A run that succeeded. What its steps did not make is None.

    Attributes:
        run: Its name, which is its folder under the workspace's `runs/`.
        mlflow: What was registered: tracking_uri, run_id, model, version, promoted, reason.
        metrics: The metrics' values by name, in nats unless the name says otherwise.
        seconds: Wall time of each step, and `total`.
    """

    run: str
    status: Literal["succeeded"]
    dataset: str | None
    model: str | None
    evaluation: str | None
    report: str | None
    mlflow: dict[str, Any] | None
    metrics: dict[str, float] | None
    seconds: dict[str, float]


def execute(
    experiment: Experiment,
    workspace: Workspace,
    graph: Graph = TRAINING,
    *,
    name: str | None = None,
    image: str | None = None,
    part: Part = WHOLE,
) -> Runner:
    """Runs the steps of a pipeline, and returns what has run them.

    Args:
        name: The run's name, if it has one already.
        image: The image of the containers that the steps run in; None for processes of this Python.
        part: Which steps are run.

    Raises:
        StepError: A step failed.
        KeyboardInterrupt: It was interrupted. Its processes have ended.
    """
    experiment = experiment.dated()
    detached = os.environ.pop(NEW_RUN, None)
    name = name or detached or new_name(experiment.name)
    planned = graph.steps if part.until is None else graph.steps[: graph.steps.index(part.until) + 1]
    values = PipelineInputs.of(
        experiment,
        run=name,
        dataset_root=str(workspace.datasets) if part.cache else "",
        tracking_uri=tracking_uri(experiment, workspace),
    )
    values = replace(values, data=experiment.data_of_date.model_dump_json())
    with (
        recorded(name, experiment, workspace, planned, graph.trains_once, part.announced) as moved,
        surroundings(experiment, workspace, name if graph.trains_once else None) as key,
        Screen(key) as screen,
    ):
        runner = Runner(
            name,
            workspace.runs / name,
            screen,
            experiment.targets.local.step,
            _start(experiment, workspace, name, image),
            moved,
            part.kept,
            Cache(workspace.runs) if part.cache and image is None else None,  # an image has code of its own
            part.until,
        )
        with suppress(DoneError):
            graph.build(runner.take, values)
    return runner


def _start(experiment: Experiment, workspace: Workspace, name: str, image: str | None) -> Start:
    if image is None:
        return lambda step, given: StepProcess(step, given, Path(os.environ["TMPDIR"]))
    from pipelines.targets.local.docker import Containers

    return Containers(image, experiment, workspace, name).start


def outcome(runner: Runner) -> Run:
    """Returns what a run has left behind."""
    made = runner.artifacts
    evaluation = path(made, "evaluation")
    report = path(made, "registration") or evaluation
    return Run(
        run=runner.run,
        status="succeeded",
        dataset=path(made, "dataset"),
        model=path(made, "model"),
        evaluation=evaluation,
        report=str(Path(report) / "report.html") if report else None,
        mlflow=dict(made["registration"].metadata) if "registration" in made else None,
        metrics=None if evaluation is None else read_json(Path(evaluation) / "metrics.json", _values),
        seconds={**runner.seconds, "total": round(time.monotonic() - runner.started, 1)},
    )


def path(made: Mapping[str, Artifact], name: str) -> str | None:
    """Returns the path of an artifact; None where there is none."""
    return made[name].uri if name in made else None


def _values(metrics: dict[str, dict[str, float]]) -> dict[str, float]:
    """Returns the values of an evaluation's `metrics.json` by name, without their intervals."""
    return {name: metric["value"] for name, metric in metrics.items()}
