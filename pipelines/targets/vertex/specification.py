"""Vertex AI Pipelines: the experiment compiled into a pipeline that Google Cloud takes."""

import copy
from dataclasses import dataclass
from typing import Any

import yaml
from google.protobuf import json_format
from kfp import components
from kfp.dsl import PipelineTask
from kfp.dsl.base_component import BaseComponent

from elboflow.settings import RequestError
from elboflow.settings.variables import VERTEX_ENDPOINT
from pipelines.experiment import Experiment
from pipelines.experiment.machines import ReductionServer, VertexStep
from pipelines.experiment.steps import image_for
from pipelines.experiment.vertex import VertexTarget
from pipelines.graphs import Graph, PipelineInputs
from pipelines.graphs.compile import RUN, compiled
from pipelines.step_process.secrets import PREFIX
from pipelines.targets.placement import environment, placed, retried
from preprocessing.engines import Engine
from preprocessing.engines.dataflow import Dataflow
from preprocessing.engines.flink import Flink

STRATEGIES = {"standard": "STANDARD", "spot": "SPOT", "flex_start": "FLEX_START"}
LONGEST = 7 * 24 * 60
"""Minutes after which Vertex AI ends a custom job anyway."""
REDUCTION_SERVER = "us-docker.pkg.dev/vertex-ai-restricted/training/reductionserver:latest"


def specification(experiment: Experiment, graph: Graph) -> str:
    """Returns a pipeline's IR YAML.

    Datasets are kept by their digest under the root, where later runs find them.

    Raises:
        RequestError: The experiment has no targets.vertex, or asks for what is impossible there.
    """
    target = given(experiment)
    values = PipelineInputs.of(
        placed(experiment, "vertex"),
        run=RUN,
        dataset_root=f"{target.root}/datasets",
        tracking_uri=target.tracking_uri,
        runner=runner(target),
    )
    return compiled(graph, values, Machines(target, experiment.name), root=target.root)


def given(experiment: Experiment) -> VertexTarget:
    """Returns what an experiment says of Vertex AI; where it says nothing, a RequestError."""
    if experiment.targets.vertex is None:
        needed = "`project`, `location`, `root`, `image` and `tracking_uri`"
        raise RequestError(f"targets.vertex: missing; the pipeline needs its {needed}")
    return experiment.targets.vertex


def runner(target: VertexTarget) -> Engine:
    """Returns the Beam runner with what the target says of it: project, region, folder, image and key."""
    chosen, temporary = target.runner, f"{target.root}/temporary"
    if isinstance(chosen, Flink):
        return chosen.model_copy(update={"temporary": chosen.temporary or temporary})
    if isinstance(chosen, Dataflow):
        said = {
            "project": target.project,
            "region": target.location,
            "temporary": temporary,
            "image": image_for(target.image, None),
            "encryption_key": target.encryption_key,
        }
        return chosen.model_copy(update={key: value for key, value in said.items() if getattr(chosen, key) is None})
    return chosen


@dataclass(frozen=True)
class Machines:
    """Steps as Vertex AI runs them: on a machine that it chooses, or as custom jobs on a named one."""

    target: VertexTarget
    experiment: str

    def component(self, step: BaseComponent) -> BaseComponent:
        settings = self.target.step(step.name)
        if not settings.is_custom_job:
            return step
        return custom_job(step, settings, self.target, self.experiment, self.environment(step.name))

    def place(self, task: PipelineTask, step: str) -> None:
        settings = self.target.step(step)
        retried(task, settings.retry)
        if settings.is_custom_job:
            return  # the rest is in the custom job
        task.set_container_image(image_for(self.target.image, None))
        if settings.cpu is not None:
            task.set_cpu_limit(f"{settings.cpu:g}")
        if settings.memory is not None:
            task.set_memory_limit(settings.memory)
        for name, value in self.environment(step).items():
            task.set_env_variable(name, value)

    def environment(self, step: str) -> dict[str, str]:
        """Returns the environment variables of a step; those of secrets hold references."""
        secrets = {name: f"{PREFIX}{version}" for name, version in self.target.secrets.items()}
        asked = {VERTEX_ENDPOINT: self.target.endpoint} if self.target.endpoint and step == "finish" else {}
        return {**environment(step, self.target.step(step)), **secrets, **asked}


def custom_job(
    step: BaseComponent, settings: VertexStep, target: VertexTarget, experiment: str, environment: dict[str, str]
) -> BaseComponent:
    """Returns a component of the step's name, inputs and outputs that runs it as a custom job."""
    from google_cloud_pipeline_components.v1.custom_job import create_custom_training_job_from_component

    disk = "pd-ssd" if settings.accelerator is None else settings.accelerator.of_kind.disk
    wait = 24 * 60 if settings.max_wait_minutes is None else settings.max_wait_minutes
    job = create_custom_training_job_from_component(
        step,
        display_name=f"{experiment}-{step.name}",
        boot_disk_type=disk if settings.disk_gigabytes else "",
        boot_disk_size_gb=settings.disk_gigabytes or 0,
        timeout=f"{60 * (settings.timeout_minutes or LONGEST)}s",
        service_account=target.service_account or "",
        network=target.network or "",
        encryption_spec_key_name=target.encryption_key or "",
        labels=target.labels,
        env=[{"name": name, "value": value} for name, value in environment.items()],
        strategy=STRATEGIES[settings.provisioning],
        max_wait_duration=f"{60 * wait}s",
    )
    return _with_pools(job, step, settings, image_for(target.image, settings.accelerator))


def _with_pools(job: BaseComponent, step: BaseComponent, settings: VertexStep, image: str) -> BaseComponent:
    """Returns the job under the step's name, with the pools that the function which made it has no arguments for.

    It knows neither topologies of TPUs nor pools of different machines, and takes the image from the step's component.
    """
    written = json_format.MessageToDict(job.pipeline_spec)
    (component,) = written["components"].values()
    parameters = (written["root"]["inputDefinitions"], component["inputDefinitions"])
    (pool,) = component["inputDefinitions"]["parameters"]["worker_pool_specs"]["defaultValue"]
    pool["container_spec"]["image_uri"] = image
    pool["machine_spec"] = machine(settings)
    pools = _pools(pool, settings)
    for definitions in parameters:
        definitions["parameters"]["worker_pool_specs"]["defaultValue"] = pools
    extended = components.load_component_from_text(yaml.safe_dump(written))
    extended.component_spec.name = step.name  # as in the function; it names the task
    return extended


def machine(settings: VertexStep) -> dict[str, Any]:
    """Returns the machine of a step, as a worker pool names it."""
    if settings.accelerator is None or settings.offer is None:
        return {"machine_type": settings.machine}
    kind, offer = settings.accelerator.of_kind, settings.offer
    found: dict[str, Any] = {"machine_type": settings.machine or offer.machines[0]}
    if offer.topology is not None:
        found["tpu_topology"] = offer.topology
    if kind.accelerator_type is not None:
        found |= {"accelerator_type": kind.accelerator_type, "accelerator_count": offer.chips}
    return found


def _pools(pool: dict[str, Any], settings: VertexStep) -> list[dict[str, Any]]:
    """Returns the pools: the first machine, which leads; the others like it; and those that add up gradients.

    A slice of TPUs is one replica, whose topology says how many hosts it has.
    """
    if settings.workers == 1:
        return [pool]
    others = {**copy.deepcopy(pool), "replica_count": settings.workers - 1}
    adders = [_adders(settings.reduction_server)] if settings.reduction_server is not None else []
    return [pool, others, *adders]


def _adders(server: ReductionServer) -> dict[str, Any]:
    return {
        "machine_spec": {"machine_type": server.machine},
        "replica_count": server.replicas,
        "container_spec": {"image_uri": REDUCTION_SERVER},
    }
