"""What follows from the machine of a step: the framework that runs there, and how the process is told."""

import logging
from typing import TYPE_CHECKING, Literal

from pipelines.experiment import Experiment
from pipelines.targets import accelerators
from pipelines.targets.machines import Accelerator, Retry, VertexTraining
from settings import RequestError

if TYPE_CHECKING:
    from kfp.dsl import PipelineTask

logger = logging.getLogger("elboflow.targets")

COMPUTING = ("train", "evaluate", "register")
"""The steps that run a framework. Registration does so when it compares the new model with the champion."""


def placed(experiment: Experiment, target: Literal["kubeflow", "vertex"]) -> Experiment:
    """Returns an experiment as it runs on a target: on TPUs it is trained with JAX, and says so.

    There is no current build of TensorFlow for TPUs, and the same weights give the same bound on each framework. A
    model's folder names its framework, so that the later steps follow by themselves. What of the machines will not be
    used is said, too.
    """
    for sentence in _unused(experiment, target):
        logger.warning(sentence)
    accelerator = getattr(experiment.targets, target).train.accelerator
    backend = experiment.training.backend
    if accelerator is None or accelerator.of_kind.chip != "tpu" or backend == "jax":
        return experiment
    kind = accelerator.kind
    logger.info("training.backend is jax instead of %s: targets.%s.train is on a TPU, %s", backend, target, kind)
    return experiment.model_copy(update={"training": experiment.training.model_copy(update={"backend": "jax"})})


def refuse_several_machines(experiment: Experiment, target: str) -> None:
    """Refuses to have an experiment trained on several machines, which train one model together in no framework yet.

    The step itself refuses it, too, but only when all the machines have been waited for. Such a pipeline can be
    compiled nevertheless.

    Raises:
        RequestError: Its training on the target is on several machines.
    """
    if several := _several_machines(experiment, target):
        raise RequestError(several)


def _several_machines(experiment: Experiment, target: str) -> str | None:
    """Returns the key that asks for several machines to train on, with what is wrong about it."""
    settings = getattr(experiment.targets, target)
    if settings is None or not isinstance(settings.train, VertexTraining):
        return None  # a step on Kubeflow is one pod
    train, offer, step = settings.train, settings.train.offer, f"targets.{target}.train"
    refusal = "training on several machines is refused for now; allowed:"
    if train.workers > 1:
        return f"{step}.workers: {train.workers}; {refusal} 1"
    if train.accelerator is None or offer is None or offer.hosts == 1:
        return None
    sentence = f"{offer.chips} chips are in {offer.hosts} machines; {refusal}"
    kind = train.accelerator.of_kind
    if offer.chips in kind.counts_in_one_machine:
        return f"{step}.machine: {sentence} {', '.join(kind.offer(offer.chips).machines)}"
    return f"{step}.accelerator.count: {sentence} {', '.join(map(str, kind.counts_in_one_machine))}"


def _unused(experiment: Experiment, target: str) -> list[str]:
    """Returns what the steps are given and do not use, in sentences."""
    several = _several_machines(experiment, target)
    found = [several] if several else []
    settings = getattr(experiment.targets, target)
    for step, doing in (("train", "training"), ("evaluate", "evaluation")):
        offer = getattr(settings, step).offer
        if offer is not None and offer.chips > 1 and not (several and step == "train"):
            found.append(f"targets.{target}.{step}.accelerator: {doing} uses one chip of {offer.chips} for now")
    return found


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


def retried(task: "PipelineTask", retry: Retry) -> None:
    """Lets the platform try a task again. A step that was refused for a wrong request ends its retries by itself."""
    if retry.attempts:
        task.set_retry(retry.attempts, backoff_duration=f"{retry.wait_seconds}s", backoff_factor=retry.factor)
