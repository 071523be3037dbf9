"""What a target is given to run: the experiment compiled for its platform."""

from pipelines.experiment import Experiment


def specification(experiment: Experiment, target: str) -> str:
    """Returns the pipeline's IR YAML. Its defaults are the experiment, so that it can be run as it is.

    Args:
        experiment: The experiment.
        target: `kubeflow` or `vertex`.

    Raises:
        RequestError: The experiment does not say how to run on the target.
    """
    if target == "kubeflow":
        from pipelines.targets.kubeflow.specification import specification as compiled
    else:
        from pipelines.targets.vertex.specification import specification as compiled
    return compiled(experiment)
