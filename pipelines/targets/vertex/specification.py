"""Vertex AI Pipelines: the experiment compiled into a pipeline that Google Cloud takes."""

from pipelines.experiment import Experiment
from pipelines.training import compiled
from settings import RequestError


def specification(experiment: Experiment) -> str:
    """Returns the pipeline's IR YAML. Its defaults are the experiment, so that it can be run as it is.

    Datasets are kept by their digest under the root, where later runs find them.

    Raises:
        RequestError: The experiment has no targets.vertex.
    """
    target = experiment.targets.vertex
    if target is None:
        raise RequestError("targets.vertex: missing; compiling for vertex needs its `image`, `tracking_uri` and `root`")
    root = f"{target.root}/datasets"
    return compiled(experiment, target.image, dataset_root=root, tracking_uri=target.tracking_uri, root=target.root)
