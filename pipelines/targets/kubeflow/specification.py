"""Kubeflow Pipelines: the experiment compiled into a pipeline that a cluster takes."""

from dataclasses import dataclass

from kfp import kubernetes
from kfp.dsl import PipelineTask
from kfp.dsl.base_component import BaseComponent

from elboflow.settings import RequestError
from elboflow.settings.variables import SECRETS
from pipelines.experiment import Experiment
from pipelines.graphs import Graph, Values
from pipelines.graphs.compile import RUN, compiled
from pipelines.targets import accelerators
from pipelines.targets.config import KubeflowTarget
from pipelines.targets.images import image_for
from pipelines.targets.machines import Accelerator, KubernetesStep
from pipelines.targets.placement import environment, placed, retried
from preprocessing.engines import Engine
from preprocessing.engines.dataflow import Dataflow


def specification(experiment: Experiment, graph: Graph) -> str:
    """Returns a pipeline's IR YAML.

    Each run has a dataset of its own, among its other artifacts: a cluster's artifact store need not be a folder.

    Raises:
        RequestError: The experiment has no targets.kubeflow, or asks for what is impossible there.
    """
    target = experiment.targets.kubeflow
    if target is None:
        raise RequestError("targets.kubeflow: missing; the pipeline needs its `image` and `tracking_uri`")
    values = Values.of(
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
        if settings.cpu is not None:
            task.set_cpu_request(f"{settings.cpu:g}").set_cpu_limit(f"{settings.cpu:g}")
        if settings.memory is not None:
            task.set_memory_request(settings.memory).set_memory_limit(settings.memory)
        if settings.timeout_minutes is not None:
            kubernetes.set_timeout(task, 60 * settings.timeout_minutes)
        if settings.accelerator is not None:
            _give(task, settings.accelerator)
        _choose_node(task, settings)
        self._surround(task, environment(step, settings))

    def _surround(self, task: PipelineTask, variables: dict[str, str]) -> None:
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
            kubernetes.mount_pvc(task, volume.claim, volume.mount)


def _give(task: PipelineTask, accelerator: Accelerator) -> None:
    resource = accelerators.catalogue().chips[accelerator.of_kind.chip].resource
    task.set_accelerator_type(resource).set_accelerator_limit(accelerator.offer().chips)
    kubernetes.add_toleration(task, key=resource, operator="Exists", effect="NoSchedule")


def _choose_node(task: PipelineTask, settings: KubernetesStep) -> None:
    labels: dict[str, str | None] = {}
    if settings.accelerator is not None:
        kind, offer = settings.accelerator.of_kind, settings.accelerator.offer()
        chip = accelerators.catalogue().chips[kind.chip]
        labels[chip.label] = kind.gke
        if chip.topology_label is not None:
            labels[chip.topology_label] = offer.topology
    labels |= settings.node_selector
    for label, value in labels.items():
        if value is not None:
            kubernetes.add_node_selector(task, label, value)
    for toleration in settings.tolerations:
        operator = "Exists" if toleration.value is None else "Equal"
        kubernetes.add_toleration(
            task, key=toleration.key, operator=operator, value=toleration.value, effect=toleration.effect
        )
