"""A training on several machines: a TrainJob of Kubeflow Trainer (2.2 or newer), which the pod of the step makes.

Here is what stands in the compiled pipeline: the component, and the TrainJob but for its name and command. What the
pod does with it is in `pipelines.step_process.train_job`.
"""

from typing import Any

from kfp import dsl
from kfp.dsl import Dataset, Input, Model, Output

from elboflow.settings import RequestError
from elboflow.settings.variables import SECRETS
from elboflow.vae.compute import parallelism
from pipelines.experiment.kubeflow import KubeflowTarget
from pipelines.experiment.machines import KubernetesStep
from pipelines.experiment.steps import image_for
from pipelines.graphs.steps import IMAGE

RUNTIMES = {"jax": "jax-distributed", "torch": "torch-distributed"}
"""The runtimes that Kubeflow Trainer comes with, by backend. None of its own names the addresses of all machines."""
CONTAINER = "node"
"""The name of the replicated job and of its container, in all runtimes that Kubeflow Trainer comes with."""


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def train(
    dataset: Input[Dataset],
    architecture: str,
    training: str,
    seed: int,
    experiment_name: str,
    tracking_uri: str,
    model: Output[Model],
) -> None:
    """The dataset → the model, trained by a TrainJob.

    Its inputs are those of `graphs.steps.train`, written out: KFP ships the source of this function alone, and its
    executor reads there what they are.
    """
    from pipelines.step_process.process import step

    with step(model.path):
        from pathlib import Path

        from pipelines.step_process.train_job import train_on_machines
        from pipelines.step_process.train_worker import Request

        request = Request(architecture, training, seed, experiment_name, tracking_uri)
        train_on_machines(Path(dataset.path), Path(model.path), model.uri, request)


def check_backend(backend: str, settings: KubernetesStep) -> None:
    """Refuses a training on several machines with a backend that a TrainJob cannot serve.

    Raises:
        RequestError: The backend needs the addresses of all machines.
    """
    if settings.machines > 1 and backend in parallelism.ADDRESSES:
        raise RequestError(
            f"targets.kubeflow.steps.train.workers: {settings.machines} machines are a TrainJob, which tells each the "
            f"address of the first alone; training.backend {backend} needs those of all; possible with: "
            f"{', '.join(RUNTIMES)}"
        )


def manifest(
    target: KubeflowTarget, settings: KubernetesStep, backend: str, resources: dict[str, Any], pod: dict[str, Any],
    variables: dict[str, str],
) -> dict[str, Any]:  # fmt: skip
    """Returns the TrainJob of the step `train`, but for its name and command.

    Args:
        target: The target.
        settings: Those of the step.
        backend: Of the training.
        resources: The requests and limits of each pod.
        pod: What else its specification says: where it may run.
        variables: The environment of each pod.
    """
    if target.secrets:
        variables = {**variables, SECRETS: ",".join(sorted(target.secrets))}
    environment: list[dict[str, Any]] = [{"name": name, "value": value} for name, value in variables.items()]
    for name, secret in target.secrets.items():
        reference = {"secretKeyRef": {"name": secret.name, "key": secret.key}}
        environment.append({"name": name, "valueFrom": reference})
    claims = [volume for volume in target.volumes if volume.is_for("train")]
    volumes: list[dict[str, Any]] = [
        {"name": f"volume-{number}", "persistentVolumeClaim": {"claimName": volume.claim}}
        for number, volume in enumerate(claims)
    ]
    mounts = [{"name": f"volume-{number}", "mountPath": volume.mount} for number, volume in enumerate(claims)]
    if "shared_memory" in pod:
        memory = {"medium": "Memory", "sizeLimit": pod.pop("shared_memory")}
        volumes.append({"name": "shared-memory", "emptyDir": memory})
        mounts.append({"name": "shared-memory", "mountPath": "/dev/shm"})
    pod |= {"volumes": volumes, "containers": [{"name": CONTAINER, "volumeMounts": mounts}]}
    if target.service_account is not None:
        pod["serviceAccountName"] = target.service_account
    if target.pull_secrets:
        pod["imagePullSecrets"] = [{"name": name} for name in target.pull_secrets]
    described = {
        "labels": {**target.labels, **settings.labels},
        "annotations": {**target.annotations, **settings.annotations},
    }
    job = {"template": {"spec": {"template": {"metadata": described, "spec": pod}}}}
    patch = {"template": {"spec": {"replicatedJobs": [{"name": CONTAINER, **job}]}}}
    spec: dict[str, Any] = {
        "runtimeRef": {"name": settings.runtime or RUNTIMES[backend]},
        "trainer": {
            "image": image_for(target.image, settings.accelerator),
            "numNodes": settings.workers,
            "resourcesPerNode": resources,
            "env": environment,
        },
        "runtimePatches": [{"manager": "elboflow", "trainingRuntimeSpec": patch}],
    }
    if settings.timeout_minutes is not None:
        spec["activeDeadlineSeconds"] = 60 * settings.timeout_minutes
    return {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "TrainJob",
        "metadata": {"namespace": target.namespace},
        "spec": spec,
    }
