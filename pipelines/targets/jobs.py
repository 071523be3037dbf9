"""What is submitted for an experiment."""

from typing import Any

from elboflow.settings import RequestError
from pipelines.experiment import Experiment
from pipelines.targets import Job


def job(experiment: Experiment, target: str, if_changed: bool = False, release: str | None = None) -> Job:
    """Returns the job of an experiment on a target.

    A local run starts from the experiment itself; elsewhere the experiment is in the compiled pipeline's defaults.

    Args:
        experiment: The experiment.
        target: `local`, `kubeflow` or `vertex`.
        if_changed: Whether to run only if the data or the experiment differ from those of the last success.
        release: The published version to run instead of the experiment as it is now.

    Raises:
        RequestError: The experiment does not say how to run on the target, or asks for what is impossible there.
    """
    arguments: dict[str, Any] = {"if_changed": True} if if_changed else {}
    if target == "local":
        if release is not None:
            raise RequestError(
                "--release: published versions run on kubeflow and vertex; here, the experiment itself runs"
            )
        return Job(experiment.name, arguments={"experiment": experiment.model_dump(mode="json"), **arguments})
    from pipelines.targets.specification import specification

    if release is not None:
        from pipelines.releases import reference

        return Job(experiment.name, release=reference(experiment, target, release), arguments=arguments)
    return Job(experiment.name, specification(experiment, target), arguments=arguments)
