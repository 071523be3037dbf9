"""What is submitted for an experiment: the job, and its graph compiled for the platform."""

from typing import Any

from pipelines.experiment import Experiment
from pipelines.graphs import Graph
from pipelines.graphs.training import TRAINING
from pipelines.targets import Job


def job(experiment: Experiment, target: str, if_changed: bool = False, release: str | None = None) -> Job:
    """Returns the job of an experiment on a target.

    A local run starts from the experiment itself; elsewhere the experiment is in the compiled pipeline's defaults.

    Args:
        if_changed: Whether to run only if the data or the experiment differ from those of the last success.
        release: The reference of the published version to run instead of the experiment as it is now.

    Raises:
        RequestError: The experiment does not say how to run on the target, or asks for what is impossible there.
    """
    arguments: dict[str, Any] = {"if_changed": True} if if_changed else {}
    if target == "local":
        return Job(experiment.name, arguments={"experiment": experiment.model_dump(mode="json"), **arguments})
    compiled = specification(experiment, target) if release is None else None
    return Job(experiment.name, compiled, release, arguments)


def specification(experiment: Experiment, target: str, graph: Graph = TRAINING) -> str:
    """Returns the pipeline's IR YAML.

    Raises:
        RequestError: The experiment does not say how to run on the target, or asks for what is impossible there.
    """
    if target == "kubeflow":
        from pipelines.targets.kubeflow.specification import specification as compiled
    else:
        from pipelines.targets.vertex.specification import specification as compiled
    return compiled(experiment, graph)
