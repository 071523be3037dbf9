"""What follows from the machine of a step: the framework that runs there, and how the process is told."""

import logging
from typing import Literal

from kfp.dsl import PipelineTask

from pipelines.experiment import Experiment
from pipelines.targets import accelerators
from pipelines.targets.machines import Accelerator, Retry

logger = logging.getLogger("elboflow.targets")

COMPUTING = ("train", "evaluate", "register")
"""The steps that run a framework. Registration does so when it compares the new model with the champion."""


def placed(experiment: Experiment, target: Literal["kubeflow", "vertex"]) -> Experiment:
    """Returns an experiment as it runs on a target: on TPUs it is trained with JAX, and says so.

    There is no current build of TensorFlow for TPUs, and the same weights give the same bound on each framework. A
    model's folder names its framework, so that the later steps follow by themselves.
    """
    accelerator = getattr(experiment.targets, target).train.accelerator
    backend = experiment.training.backend
    if accelerator is None or accelerator.of_kind.chip != "tpu" or backend == "jax":
        return experiment
    kind = accelerator.kind
    logger.info("training.backend is jax instead of %s: targets.%s.train is on a TPU, %s", backend, target, kind)
    return experiment.model_copy(update={"training": experiment.training.model_copy(update={"backend": "jax"})})


def environment(step: str, accelerator: Accelerator | None) -> dict[str, str]:
    """Returns the environment variables by which a step finds its devices, and no others.

    JAX is told what to run on even where there is nothing to find: on a machine without a TPU, libtpu would look for
    one for minutes; and on a machine whose accelerator does not work, JAX would train on its processors.
    """
    if step not in COMPUTING:
        return {}
    if accelerator is None:
        return {"JAX_PLATFORMS": "cpu"}
    return {"JAX_PLATFORMS": accelerators.catalogue().chips[accelerator.of_kind.chip].jax_platforms}


def retried(task: PipelineTask, retry: Retry) -> None:
    """Lets the platform try a task again. A step that was refused for a wrong request ends its retries by itself."""
    if retry.attempts:
        task.set_retry(retry.attempts, backoff_duration=f"{retry.wait_seconds}s", backoff_factor=retry.factor)
