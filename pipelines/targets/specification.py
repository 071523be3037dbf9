"""What a target is given to run: a graph of the experiment, compiled for its platform."""

from pipelines.experiment import Experiment
from pipelines.graphs import Graph
from pipelines.graphs.training import TRAINING


def specification(experiment: Experiment, target: str, graph: Graph = TRAINING) -> str:
    """Returns the pipeline's IR YAML.

    Args:
        experiment: The experiment.
        target: `kubeflow` or `vertex`.
        graph: The pipeline.

    Raises:
        RequestError: The experiment does not say how to run on the target, or asks for what is impossible there.
    """
    if target == "kubeflow":
        from pipelines.targets.kubeflow.specification import specification as compiled
    else:
        from pipelines.targets.vertex.specification import specification as compiled
    return compiled(experiment, graph)
