"""Kubeflow Pipelines: the experiment compiled into a pipeline that a cluster takes."""

from pipelines.experiment import Experiment
from pipelines.training import compiled
from settings import RequestError


def specification(experiment: Experiment) -> str:
    """Returns the pipeline's IR YAML. Its defaults are the experiment, so that it can be run as it is.

    Each run has a dataset of its own, among its other artifacts: a cluster's artifact store need not be a folder.

    Raises:
        RequestError: The experiment has no targets.kubeflow.
    """
    target = experiment.targets.kubeflow
    if target is None:
        raise RequestError("targets.kubeflow: missing; compiling for kubeflow needs its `image` and `tracking_uri`")
    return compiled(experiment, target.image, dataset_root="", tracking_uri=target.tracking_uri)
