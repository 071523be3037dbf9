"""A step as a custom job of Vertex AI: on machines of its own, with accelerators, in one or several worker pools."""

import copy
from typing import Any

import yaml
from google.protobuf import json_format
from google_cloud_pipeline_components.v1.custom_job import create_custom_training_job_from_component
from kfp import components
from kfp.dsl.base_component import BaseComponent

from pipelines.experiment.machines import ReductionServer, VertexStep
from pipelines.experiment.steps import image_for
from pipelines.experiment.vertex import VertexTarget

STRATEGIES = {"standard": "STANDARD", "spot": "SPOT", "flex_start": "FLEX_START"}
LONGEST = 7 * 24 * 60
"""Minutes after which Vertex AI ends a custom job anyway."""
REDUCTION_SERVER = "us-docker.pkg.dev/vertex-ai-restricted/training/reductionserver:latest"


def custom_job(
    step: BaseComponent, settings: VertexStep, target: VertexTarget, experiment: str, environment: dict[str, str]
) -> BaseComponent:
    """Returns a component of the step's name, inputs and outputs that runs it as a custom job.

    Args:
        target: Who it runs as, in which network, under which key and labels.
        experiment: The experiment's name, for the job's.
        environment: Environment variables of the step.
    """
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
