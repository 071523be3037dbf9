"""Kubeflow Pipelines: the experiment compiled into a pipeline that a cluster takes."""

import logging
from dataclasses import dataclass

from kfp import kubernetes
from kfp.dsl import PipelineTask
from kfp.dsl.base_component import BaseComponent

from elboflow.settings import RequestError
from elboflow.settings.variables import SECRETS
from pipelines.experiment import Experiment, accelerators
from pipelines.experiment.kubeflow import KubeflowTarget
from pipelines.experiment.machines import KubernetesAccelerator, KubernetesStep
from pipelines.experiment.steps import image_for
from pipelines.graphs import Graph, PipelineInputs
from pipelines.graphs.compile import RUN, compiled
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
    target = experiment.targets.kubeflow
    if target is None:
        raise RequestError("targets.kubeflow: missing; the pipeline needs its `image` and `tracking_uri`")
    for name, step in target.steps.items():
        if step.accelerator is not None and (labels := _labels(step)):
            wanted = ", ".join(f"{label}={value}" for label, value in labels.items())
            logger.info("the pods of %s wait for a node with %s (platform: %s)", name, wanted, target.platform)
    values = PipelineInputs.of(
        placed(experiment, "kubeflow"),
        run=RUN,
        dataset_root="",
        tracking_uri=target.tracking_uri,
        runner=runner(target),
    )
    return compiled(graph, values, Pods(target), console=console(target))


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
    """Steps as the pods of a cluster."""

    target: KubeflowTarget

    def component(self, step: BaseComponent) -> BaseComponent:
        return step

    def place(self, task: PipelineTask, step: str) -> None:
        settings = self.target.step(step)
        task.set_container_image(image_for(self.target.image, settings.accelerator))
        retried(task, settings.retry)
        _request(task, step, settings)
        if settings.timeout_minutes is not None:
            kubernetes.set_timeout(task, 60 * settings.timeout_minutes)
        if settings.accelerator is not None:
            _give(task, settings.accelerator)
        _choose_node(task, settings)
        self._describe(task, settings)
        self._surround(task, step, environment(step, settings))

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


def _request(task: PipelineTask, step: str, settings: KubernetesStep) -> None:
    """Requests processors and memory. Without settings there is no limit: what a step needs depends on its data."""
    cpu, memory = REQUESTS["computing" if step in COMPUTING else "other"]
    task.set_cpu_request(f"{settings.cpu or cpu:g}").set_memory_request(settings.memory or memory)
    if settings.cpu is not None:
        task.set_cpu_limit(f"{settings.cpu:g}")
    if settings.memory is not None:
        task.set_memory_limit(settings.memory)
    shared = settings.shared_memory or (None if settings.accelerator is None else SHARED_MEMORY)
    if shared is not None:
        kubernetes.empty_dir_mount(task, "shared-memory", "/dev/shm", medium="Memory", size_limit=shared)


def _give(task: PipelineTask, accelerator: KubernetesAccelerator) -> None:
    resource = accelerators.catalogue().chips[accelerator.of_kind.chip].resource
    task.set_accelerator_type(resource).set_accelerator_limit(accelerator.offer().chips)
    kubernetes.add_toleration(task, key=resource, operator="Exists", effect="NoSchedule")


def _choose_node(task: PipelineTask, settings: KubernetesStep) -> None:
    for label, value in _labels(settings).items():
        kubernetes.add_node_selector(task, label, value)
    for toleration in settings.tolerations:
        operator = "Exists" if toleration.value is None else "Equal"
        kubernetes.add_toleration(
            task, key=toleration.key, operator=operator, value=toleration.value, effect=toleration.effect
        )


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
