"""Kubeflow Pipelines: the experiment compiled into a pipeline that a cluster takes."""

import json
import logging
from dataclasses import dataclass
from typing import Any

from kfp import kubernetes
from kfp.dsl import PipelineTask
from kfp.dsl.base_component import BaseComponent

from elboflow.settings import RequestError
from elboflow.settings.variables import SECRETS, TRAIN_JOB
from pipelines.experiment import Experiment, accelerators
from pipelines.experiment.kubeflow import KubeflowTarget
from pipelines.experiment.machines import KubernetesAccelerator, KubernetesStep
from pipelines.experiment.steps import image_for
from pipelines.graphs import Graph, PipelineInputs
from pipelines.graphs.compile import RUN, compiled
from pipelines.targets.kubeflow import train_jobs
from pipelines.targets.placement import COMPUTING, environment, placed, retried
from preprocessing.engines import Engine
from preprocessing.engines.dataflow import Dataflow

logger = logging.getLogger("elboflow.kubeflow")

REQUESTS = {"computing": (1.0, "2Gi"), "other": (0.5, "1Gi")}
"""Cores and memory that a pod requests by default: the digits' steps take 0.6 GB and a core, of which MLflow and the
framework are the most."""
SHARED_MEMORY = "1Gi"
"""Of a pod with an accelerator: NCCL exchanges gradients between GPUs of a node through it."""


def specification(experiment: Experiment, graph: Graph) -> str:
    """Returns a pipeline's IR YAML.

    Each run has a dataset of its own, among its other artifacts: a cluster's artifact store need not be a folder.

    Raises:
        RequestError: The experiment has no targets.kubeflow, or asks for what is impossible there.
    """
    target = given(experiment)
    for name, step in target.steps.items():
        if step.accelerator is not None and (labels := _labels(step)):
            wanted = ", ".join(f"{label}={value}" for label, value in labels.items())
            logger.info("the pods of %s wait for a node with %s (platform: %s)", name, wanted, target.platform)
    as_placed = placed(experiment, "kubeflow")
    train_jobs.check_backend(as_placed.training.backend, target.step("train"))
    values = PipelineInputs.of(
        as_placed,
        run=RUN,
        dataset_root="",
        tracking_uri=target.tracking_uri,
        runner=runner(target),
    )
    return compiled(graph, values, Pods(target, as_placed.training.backend), console=console(target))


def given(experiment: Experiment) -> KubeflowTarget:
    """Returns what an experiment says of Kubeflow; where it says nothing, a RequestError."""
    if experiment.targets.kubeflow is None:
        raise RequestError("targets.kubeflow: missing; the pipeline needs its `image` and `tracking_uri`")
    return experiment.targets.kubeflow


def runner(target: KubeflowTarget) -> Engine:
    """Returns the Beam runner with what the target says of it: the image of Dataflow's workers."""
    if isinstance(target.runner, Dataflow) and target.runner.image is None:
        return target.runner.model_copy(update={"image": image_for(target.image, None)})
    return target.runner


def console(target: KubeflowTarget) -> str:
    """Returns what stands before a run's id in the address of its page; empty where that is not known."""
    return "" if target.host is None else f"{target.host.rstrip('/')}/#/runs/details/"


@dataclass(frozen=True)
class Pods:
    """Steps as the pods of a cluster. A training on several machines has one pod, which makes a TrainJob.

    Attributes:
        target: The target.
        backend: Of the training.
    """

    target: KubeflowTarget
    backend: str

    def component(self, step: BaseComponent) -> BaseComponent:
        return train_jobs.train if self.target.step(step.name).machines > 1 else step

    def place(self, task: PipelineTask, step: str) -> None:
        settings = self.target.step(step)
        if settings.machines > 1:
            self._place_train_job(task, step, settings)
            return
        self._place(task, step, settings, environment(step, settings), requests(step))

    def _place_train_job(self, task: PipelineTask, step: str, settings: KubernetesStep) -> None:
        """Gives a task the TrainJob that it makes, which has the chips, the nodes and the time limit."""
        pod: dict[str, Any] = {"nodeSelector": _labels(settings), "tolerations": _tolerations(settings)}
        if (shared := _shared_memory(settings)) is not None:
            pod["shared_memory"] = shared
        job = train_jobs.manifest(
            self.target, settings, self.backend, _resources(step, settings), pod, environment(step, settings)
        )
        made_by = KubernetesStep(retry=settings.retry, labels=settings.labels, annotations=settings.annotations)
        self._place(task, step, made_by, {TRAIN_JOB: json.dumps(job, sort_keys=True)}, REQUESTS["other"])

    def _place(
        self,
        task: PipelineTask,
        step: str,
        settings: KubernetesStep,
        variables: dict[str, str],
        least: tuple[float, str],
    ) -> None:
        task.set_container_image(image_for(self.target.image, settings.accelerator))
        retried(task, settings.retry)
        _request(task, settings, least)
        if settings.timeout_minutes is not None:
            kubernetes.set_timeout(task, 60 * settings.timeout_minutes)
        if settings.accelerator is not None:
            _give(task, settings.accelerator)
        _choose_node(task, settings)
        self._describe(task, settings)
        self._surround(task, step, variables)

    def _describe(self, task: PipelineTask, settings: KubernetesStep) -> None:
        for key, value in {**self.target.labels, **settings.labels}.items():
            kubernetes.add_pod_label(task, key, value)
        for key, value in {**self.target.annotations, **settings.annotations}.items():
            kubernetes.add_pod_annotation(task, key, value)

    def _surround(self, task: PipelineTask, step: str, variables: dict[str, str]) -> None:
        secrets = self.target.secrets
        if secrets:
            variables = {**variables, SECRETS: ",".join(sorted(secrets))}
        for name, value in variables.items():
            task.set_env_variable(name, value)
        for name, secret in secrets.items():
            kubernetes.use_secret_as_env(task, secret.name, {secret.key: name})
        if self.target.pull_secrets:
            kubernetes.set_image_pull_secrets(task, list(self.target.pull_secrets))
        for volume in self.target.volumes:
            if volume.is_for(step):
                kubernetes.mount_pvc(task, volume.claim, volume.mount)


def requests(step: str) -> tuple[float, str]:
    """Returns the cores and the memory that the pod of a step requests by default."""
    return REQUESTS["computing" if step in COMPUTING else "other"]


def _request(task: PipelineTask, settings: KubernetesStep, least: tuple[float, str]) -> None:
    """Requests processors and memory. Without settings there is no limit: what a step needs depends on its data."""
    cpu, memory = least
    task.set_cpu_request(f"{settings.cpu or cpu:g}").set_memory_request(settings.memory or memory)
    if settings.cpu is not None:
        task.set_cpu_limit(f"{settings.cpu:g}")
    if settings.memory is not None:
        task.set_memory_limit(settings.memory)
    if (shared := _shared_memory(settings)) is not None:
        kubernetes.empty_dir_mount(task, "shared-memory", "/dev/shm", medium="Memory", size_limit=shared)


def _resources(step: str, settings: KubernetesStep) -> dict[str, dict[str, str]]:
    """Returns the same as `_request` and `_give`, in Kubernetes' own words."""
    cpu, memory = requests(step)
    asked = {"cpu": f"{settings.cpu or cpu:g}", "memory": settings.memory or memory}
    limits = {name: asked[name] for name in ("cpu", "memory") if getattr(settings, name) is not None}
    if settings.accelerator is not None and settings.offer is not None:
        resource = accelerators.catalogue().chips[settings.accelerator.of_kind.chip].resource
        limits[resource] = asked[resource] = str(settings.offer.chips)
    return {"requests": asked, "limits": limits}


def _shared_memory(settings: KubernetesStep) -> str | None:
    return settings.shared_memory or (None if settings.accelerator is None else SHARED_MEMORY)


def _tolerations(settings: KubernetesStep) -> list[dict[str, str]]:
    """Returns the taints of nodes that a pod may run on, in Kubernetes' own words."""
    found = []
    if settings.accelerator is not None:
        resource = accelerators.catalogue().chips[settings.accelerator.of_kind.chip].resource
        found.append({"key": resource, "operator": "Exists", "effect": "NoSchedule"})
    for each in settings.tolerations:
        operator = "Exists" if each.value is None else "Equal"
        given = {"key": each.key, "operator": operator, "value": each.value, "effect": each.effect}
        found.append({name: value for name, value in given.items() if value is not None})
    return found


def _give(task: PipelineTask, accelerator: KubernetesAccelerator) -> None:
    resource = accelerators.catalogue().chips[accelerator.of_kind.chip].resource
    task.set_accelerator_type(resource).set_accelerator_limit(accelerator.offer().chips)


def _choose_node(task: PipelineTask, settings: KubernetesStep) -> None:
    for label, value in _labels(settings).items():
        kubernetes.add_node_selector(task, label, value)
    for toleration in _tolerations(settings):
        kubernetes.add_toleration(task, **toleration)


def _labels(settings: KubernetesStep) -> dict[str, str]:
    """Returns the labels of the node that a step needs."""
    labels: dict[str, str | None] = {}
    if settings.accelerator is not None:
        kind, offer = settings.accelerator.of_kind, settings.accelerator.offer()
        chip = accelerators.catalogue().chips[kind.chip]
        labels[chip.label] = kind.gke
        if chip.topology_label is not None:
            labels[chip.topology_label] = offer.topology
        labels |= settings.accelerator.node_selector
    labels |= settings.node_selector
    return {label: value for label, value in labels.items() if value is not None}
