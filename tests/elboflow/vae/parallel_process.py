"""Trainings over several devices or machines, as a process of its own: `python parallel_process.py REQUEST`, in JSON.

The request names a folder, trainings one after the other, and the machines that train together, if they are several.
The curves of each training are written into the folder by the machine that is their chief.
"""

import json
import logging
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_digits

from elboflow.settings import RequestError, WorkError
from elboflow.vae import compute
from elboflow.vae.compute.cluster import Cluster
from elboflow.vae.compute.contract import Job
from elboflow.vae.config import TrainingConfig
from elboflow.vae.data import InMemory
from elboflow.vae.families.flat import Flat
from elboflow.vae.networks.convolutional import Convolutional
from elboflow.vae.networks.mlp import MLP
from tests.elboflow.vae.given import image, images
from tests.elboflow.vae.given import weights as weights_of

EXAMPLES = 640
EPOCHS = 5  # of ten steps each
NETWORKS = {"mlp": MLP(hidden=[32, 32]), "convolutional": Convolutional(channels=[8, 16], dense=32)}


def main(request: dict[str, Any]) -> None:
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
    cluster = Cluster(**request["cluster"]) if "cluster" in request else None
    if cluster is not None:
        cluster = replace(cluster, workers=tuple(cluster.workers))
    for name, wanted in request["trainings"].items():
        network, broken = NETWORKS[wanted.pop("network", "mlp")], wanted.pop("broken_examples", [])
        training = TrainingConfig.model_validate(
            {
                "batch_size": 64,
                "epochs": EPOCHS,
                "learning_rate": {"kind": "constant", "initial": 3e-3},
                "early_stopping": None,
                "checkpoints": {"every_steps": 10, "every_minutes": None},
                **wanted,
            }
        )
        curves = train(Path(request["folder"]), name, network, training, broken, cluster, request.get("killed_after"))
        if cluster is None or cluster.chief:
            (Path(request["folder"]) / f"{name}.json").write_text(json.dumps(curves), encoding="utf-8")


def train(
    folder: Path, name: str, network: Any, training: TrainingConfig, broken: list[int], cluster: Any, killed_after: Any
) -> Any:
    """Returns the curves of a training, or what it said when it was refused; the loss of broken examples is NaN."""

    def observer(group: str, epoch: int, step: int, numbers: Any) -> None:
        if epoch == killed_after:
            os.kill(os.getpid(), signal.SIGKILL)

    try:
        compute.use(training.backend, training, cluster)
        from elboflow.vae.training import train

        codes = load_digits().images.astype(np.uint8)[..., None]
        weights = np.linspace(0.5, 1.5, len(codes), dtype=np.float32)
        weights[broken] = np.nan
        examples = images(codes, weights=weights)
        job = Job(
            InMemory(examples.head(EXAMPLES)),
            InMemory(examples[EXAMPLES : EXAMPLES + 200]),
            image((8, 8, 1), 17),
            Flat(latent=4, encoder=network, decoder=network),
            training,
            seed=0,
            checkpoints=folder / f"{name}-checkpoints",
            fingerprint={"name": name},
        )
        trained = train(job, cluster=cluster, observers=[observer])
    except RequestError as error:
        return {"refused": str(error)}
    sizes = [float(np.abs(weight).sum()) for weight in weights_of(trained.model)]
    return {"train": trained.curves.train, "validation": trained.curves.validation, "weights": sizes}


if __name__ == "__main__":
    try:
        main(json.loads(sys.argv[1]))
    except WorkError as error:
        sys.exit(f"error: {error}")
