"""What follows from the machine of a step: the framework that runs there, and how the process is told."""

import logging
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Literal

from elboflow.settings import RequestError
from elboflow.settings.text import counted
from elboflow.settings.variables import MACHINES
from elboflow.vae.compute import parallelism
from elboflow.vae.config import DataParallel, ModelParallel, TrainingConfig
from pipelines.experiment import Experiment, accelerators
from pipelines.experiment.machines import KubernetesStep, Retry, VertexStep
from pipelines.targets.data import require_no_secret, require_readable

if TYPE_CHECKING:
    from kfp.dsl import PipelineTask

logger = logging.getLogger("elboflow.targets")

COMPUTING = ("train", "evaluate", "register", "search")
"""The steps that run a framework. Registration does so when it compares the new model with the champion."""


def placed(experiment: Experiment, target: Literal["kubeflow", "vertex"]) -> Experiment:
    """Returns an experiment as it runs on a target: over all chips that its training is given, on TPUs with JAX.

    The same weights give the same bound on each framework. A model's folder names its framework, so that the later
    steps follow by themselves. Who asks for several chips, or several machines, wants them used: unless the experiment
    says how, each computes a part of every batch. What of the machines will not be used nevertheless is said.

    Raises:
        RequestError: The training is to be on a device that its machine has not, or cannot be divided among its chips
            and machines, or not on its framework; or the steps cannot read the source, or the experiment holds a
            secret.
    """
    require_readable(experiment, target)
    require_no_secret(experiment)
    step = f"targets.{target}.steps.train"
    train, training = getattr(experiment.targets, target).step("train"), experiment.training
    accelerator = train.accelerator
    if accelerator is not None and accelerator.of_kind.chip == "tpu" and training.backend not in parallelism.TPU:
        kind = accelerator.kind
        logger.info("training.backend is jax instead of %s: %s is on a TPU, %s", training.backend, step, kind)
        training = training.model_copy(update={"backend": "jax"})
    chips = 1 if train.offer is None else train.offer.chips_per_host
    if training.parallel is None and chips * train.machines > 1:
        logger.info("training.parallel is data: %s has %s", step, _described(chips, train.machines))
        training = training.model_copy(update={"parallel": DataParallel()})
    chip = "cpu" if accelerator is None else accelerator.of_kind.chip
    if training.device not in ("auto", "cpu", chip):
        raise RequestError(
            f"training.device: {training.device}; {step} has no {training.device.upper()}: {step}.accelerator names one"
        )
    _refuse_impossible(training, step, chips, train.machines)
    lost = checkpoints_lost(experiment) if target == "kubeflow" else None
    for sentence in [*_unused(experiment, target, training, chips), *([lost] if lost else [])]:
        logger.warning(sentence)
    return experiment.model_copy(update={"training": training})


def _refuse_impossible(training: TrainingConfig, step: str, chips: int, of_machines: int) -> None:
    if reason := parallelism.impossible(training):
        raise RequestError(f"training.parallel: {reason}")
    given, parallel = _described(chips, of_machines), training.parallel
    if isinstance(parallel, DataParallel) and chips > 1 and (parallel.devices or 0) > chips:
        raise RequestError(f"training.parallel.devices: {parallel.devices}; {step} has {given}")
    if isinstance(parallel, ModelParallel) and chips * of_machines > 1:
        asked, there = parallel.data * parallel.model, chips * of_machines
        if asked > there or (asked != there and of_machines > 1):
            raise RequestError(
                f"training.parallel: data: {parallel.data} times model: {parallel.model} is {asked}; {step} has {given}"
            )
    if reason := parallelism.indivisible(training, of_machines, _devices(training, chips, of_machines)):
        raise RequestError(reason)


def _devices(training: TrainingConfig, chips: int, of_machines: int) -> int:
    """Returns among how many devices of a machine its part of a batch is divided."""
    if isinstance(training.parallel, ModelParallel):
        return max(1, training.parallel.data // of_machines)
    return 1 if training.parallel is None else training.parallel.devices or chips


def _described(chips: int, of_machines: int) -> str:
    if of_machines == 1:
        return counted(chips, "chip")
    return f"{counted(of_machines, 'machine')} with {counted(chips, 'chip')} each"


def _unused(experiment: Experiment, target: str, training: TrainingConfig, chips: int) -> list[str]:
    """Returns what the steps are given and do not use, in sentences."""
    found = []
    settings, parallel = getattr(experiment.targets, target), training.parallel
    if isinstance(parallel, DataParallel) and parallel.devices is not None and parallel.devices < chips:
        found.append(
            f"targets.{target}.steps.train.accelerator: training.parallel uses {parallel.devices} chips of {chips}"
        )
    if isinstance(parallel, ModelParallel) and 1 < parallel.data * parallel.model < chips:
        asked = parallel.data * parallel.model
        found.append(f"targets.{target}.steps.train.accelerator: training.parallel uses {asked} chips of {chips}")
    offer = settings.step("evaluate").offer
    if offer is not None and offer.chips > 1:
        found.append(f"targets.{target}.steps.evaluate.accelerator: evaluation uses one chip of {offer.chips}")
    return found


def checkpoints_lost(experiment: Experiment) -> str | None:
    """Returns why what a training on Kubeflow saves ends with its pod, or None where that was not asked for otherwise.

    A pod writes its artifacts into a folder of its own, which Kubeflow uploads when the step has succeeded. What is to
    outlive a pod that is taken away belongs on a volume.
    """
    target, folder = experiment.targets.kubeflow, experiment.training.checkpoints.folder
    if target is None:
        return None
    mounts = [PurePosixPath(volume.mount) for volume in target.volumes if volume.is_for("train")]
    if folder is not None and any(PurePosixPath(folder).is_relative_to(mount) for mount in mounts):
        return None
    on = f"one of targets.kubeflow.volumes ({', '.join(map(str, mounts)) or 'there are none'})"
    if folder is not None:
        return f"training.checkpoints.folder: {folder} ends with its pod; what is to outlive it must be on {on}"
    pod = target.step("train")
    asked = "retry" in pod.model_fields_set and pod.retry.attempts > 0
    labels = [*pod.node_selector, *(toleration.key for toleration in pod.tolerations)]
    if asked or any("spot" in label or "preemptible" in label for label in labels):
        train = "targets.kubeflow.steps.train"
        return f"{train}: another try starts over: training.checkpoints.folder is not set, to be on {on}"
    return None


def environment(step: str, settings: KubernetesStep | VertexStep) -> dict[str, str]:
    """Returns the environment variables by which a step finds its devices, and no others.

    Where a training is on several machines it is told on how many, so that it does not train on each of them alone if
    the platform should not name the others.

    JAX is told what to run on even where there is nothing to find: on a machine without a TPU, libtpu would look for
    one for minutes; and on a machine whose accelerator does not work, JAX would train on its processors.
    """
    if step not in COMPUTING:
        return {}
    chip = None if settings.accelerator is None else settings.accelerator.of_kind.chip
    variables = {"JAX_PLATFORMS": "cpu" if chip is None else accelerators.catalogue().chips[chip].jax_platforms}
    return variables if settings.machines == 1 else {**variables, MACHINES: str(settings.machines)}


def retried(task: "PipelineTask", retry: Retry) -> None:
    """Lets the platform try a task again. A step that was refused for a wrong request ends its retries by itself."""
    if retry.attempts:
        task.set_retry(retry.attempts, backoff_duration=f"{retry.wait_seconds}s", backoff_factor=retry.factor)
