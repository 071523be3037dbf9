"""dataset/ → model/."""

import json
import logging
import os
from pathlib import Path

import artifacts
from components.code_version import code_version
from components.datasets import open_images
from settings import RequestError, WorkError
from vae import backends, folder
from vae.config import ModelConfig, TrainingConfig
from vae.watch import Watch

logger = logging.getLogger("elboflow.training")


def train(
    dataset: Path | str,
    output: Path | str,
    model: ModelConfig,
    training: TrainingConfig,
    seed: int,
    *,
    watch: Watch | None = None,
) -> None:
    """Trains a model and writes its folder. Killed and called again, it goes on from its last checkpoint.

    Args:
        dataset: A dataset folder with the splits `train` and `validation`.
        output: The model folder. A model of the same arguments and the same clean code is kept; any other is replaced.
        model: What the model is.
        training: How it is trained.
        seed: Fixes initial weights, order and noise.
        watch: Is told the validation ELBO of every epoch, and may stop the training after any.

    Raises:
        RequestError: The backend is not installed, `model.input` is no image feature of the dataset, or this machine is
            one of several that were to train together.
        WorkError: The dataset is not finished or is damaged, or training failed.
        WatchStoppedError: The watch stopped it; no model is written.
    """
    _refuse_several_machines()
    output = Path(output)
    images = open_images(dataset, model.input)
    provenance = folder.Provenance(
        seed=seed,
        training=training,
        range=images.image.range,
        dataset=images.manifest.digest,
        code=code_version(),
    )
    if _is_there(output, model, provenance):
        logger.info("kept the model in %s: it is of the same data, settings and code", output)
        return
    artifacts.withdraw(output, "model")
    examples, validation = images.examples("train"), images.examples("validation")
    backends.use(training.backend)
    from vae.training import train

    identity = {
        "dataset": images.manifest.digest,
        "model": model.model_dump(mode="json"),
        "training": training.model_dump(mode="json"),
        "seed": seed,
    }
    saved = output / folder.CHECKPOINT
    trained = train(examples, validation, images.spec, model, training, seed, saved, identity, watch)
    folder.save(output, trained, provenance)


def _is_there(output: Path, model: ModelConfig, provenance: folder.Provenance) -> bool:
    if provenance.code.endswith("-dirty"):
        return False
    try:
        found = folder.load(output)
    except WorkError:
        return False
    return (found.config, found.provenance) == (model, provenance)


def _refuse_several_machines() -> None:
    """Each machine of a group would train a model of its own, and all would write to the same folder."""
    found = {
        "TF_CONFIG": _machines("TF_CONFIG", ("chief", "master", "worker")),
        # Vertex AI's own. A reduction server (workerpool2) adds up gradients and trains nothing.
        "CLUSTER_SPEC": _machines("CLUSTER_SPEC", ("workerpool0", "workerpool1")),
        "TPU_WORKER_HOSTNAMES": len(os.environ.get("TPU_WORKER_HOSTNAMES", "").split(",")),
        "MEGASCALE_NUM_SLICES": _number("MEGASCALE_NUM_SLICES"),
        "JAX_NUM_PROCESSES": _number("JAX_NUM_PROCESSES"),
        "WORLD_SIZE": _number("WORLD_SIZE"),  # PyTorch's
    }
    remedy = (
        "training is on one machine: set targets.vertex.train.workers to 1, and the accelerator's `count` to what one "
        "machine has"
    )
    for variable, machines in found.items():
        if machines > 1:
            raise RequestError(
                f"the environment variable {variable} names {machines} machines that are to train together, and "
                f"{remedy}"
            )
    if os.environ.get("JAX_COORDINATOR_ADDRESS") and "JAX_NUM_PROCESSES" not in os.environ:
        raise RequestError(
            f"the environment variable JAX_COORDINATOR_ADDRESS names a coordinator of several machines, and {remedy}"
        )


def _number(variable: str) -> int:
    text = os.environ.get(variable) or "1"
    try:
        return int(text)
    except ValueError:
        raise RequestError(f"the environment variable {variable} is {text!r}, and no number of machines") from None


def _machines(variable: str, roles: tuple[str, ...]) -> int:
    text = os.environ.get(variable, "")
    if not text:
        return 1
    try:
        cluster = json.loads(text).get("cluster", {})
        return sum(len(cluster.get(role, ())) for role in roles)
    except (ValueError, AttributeError, TypeError):
        raise RequestError(f"the environment variable {variable} does not describe a cluster in JSON") from None
