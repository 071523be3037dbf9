"""Pipelines: each is a graph of steps in one file, defined once for every target.

A graph names its steps, in their order, and makes their tasks from frozen values. On a platform a task is one of KFP's,
and the graph is compiled (`compile.py`). On this machine a task is a process that has ended
(`pipelines/targets/local/runner.py`).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from pipelines.experiment import Experiment
from preprocessing.engines import Engine
from preprocessing.engines.direct import Direct

if TYPE_CHECKING:
    from kfp.dsl.base_component import BaseComponent


@dataclass(frozen=True)
class PipelineInputs:
    """What the steps of a pipeline are given.

    A step takes its own section alone: a change in one section leaves the cached results of the steps before it valid.

    Attributes:
        seed: The root of all randomness.
        data, model, training, evaluation, registry: Sections of the experiment, as JSON.
        experiment: `Experiment.recorded()`, as JSON.
        runner: The Beam runner of the preprocessing, as JSON.
        notify: Who is told how the run ended, as JSON; empty for nobody.
        run: The name of the run, or the platform's placeholder for it.
        dataset_root: Where datasets are kept by their digest; empty for one with the run's other artifacts.
        tracking_uri: The MLflow to register with.
        date: The date of the data; None where they have none, and empty for that of the schedule.
        timezone: Whose date it is.
    """

    name: str
    seed: int
    data: str
    model: str
    training: str
    evaluation: str
    registry: str
    experiment: str
    runner: str
    notify: str
    run: str
    dataset_root: str
    tracking_uri: str
    date: str | None = None
    timezone: str = "UTC"

    @classmethod
    def of(
        cls, experiment: Experiment, *, run: str, dataset_root: str, tracking_uri: str, runner: Engine | None = None
    ) -> "PipelineInputs":
        """Returns the values of an experiment; without a Beam runner, the preprocessing runs in its own process."""
        return cls(
            name=experiment.name,
            seed=experiment.seed,
            data=experiment.data.model_dump_json(),
            model=experiment.model.model_dump_json(),
            training=experiment.training.model_dump_json(),
            evaluation=experiment.evaluation.model_dump_json(),
            registry=experiment.registry.model_dump_json(),
            experiment=json.dumps(experiment.recorded()),
            runner=(runner or Direct()).model_dump_json(),
            notify="" if experiment.notify is None else experiment.notify.model_dump_json(),
            run=run,
            dataset_root=dataset_root,
            tracking_uri=tracking_uri,
            date=(experiment.date or "") if experiment.data.source.is_dated else None,
            timezone=experiment.schedule.timezone if experiment.schedule else "UTC",
        )


class Task(Protocol):
    """A step in a pipeline."""

    @property
    def outputs(self) -> Mapping[str, Any]:
        """Its artifacts and parameters by name; inputs of later tasks."""


class Take(Protocol):
    """Makes the task of a step."""

    def __call__(
        self, step: "BaseComponent", *, cached: bool = True, after: Sequence[Task] = (), **inputs: Any
    ) -> Task:
        """Returns the task.

        Args:
            cached: Whether a platform may take the result of an earlier task with the same inputs.
            after: Tasks that end before this one begins, besides those whose outputs are among the inputs.
            **inputs: The step's inputs by name: values, or outputs of tasks.
        """


class Graph(Protocol):
    """A pipeline.

    Attributes:
        name: Is put behind the experiment's name; empty for the pipeline that trains.
        description: What it does, in a sentence.
        steps: The names of the steps, in their order.
        skips: Whether the pipeline can be asked to run only if something changed since the last success.
        trains_once: Whether it trains one model, whose curves and checkpoints are those of the run.
        loops: Whether some of its tasks are in a loop.
    """

    @property
    def name(self) -> str: ...

    @property
    def description(self) -> str: ...

    @property
    def steps(self) -> tuple[str, ...]: ...

    @property
    def skips(self) -> bool: ...

    @property
    def trains_once(self) -> bool: ...

    @property
    def loops(self) -> bool: ...

    def build(self, take: Take, values: PipelineInputs) -> None:
        """Makes the tasks of the steps."""


def full_name(graph: Graph, experiment: str) -> str:
    """Returns the name of a pipeline of an experiment."""
    return f"{experiment}-{graph.name}" if graph.name else experiment
