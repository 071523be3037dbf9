"""A training as a process of its own, for tests that kill it: `python training_process.py REQUEST`, in JSON.

Its checkpoints, and at its end its curves, are in the request's folder; its lines in the log go to stderr.
"""

import json
import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_digits

EXAMPLES = 1536


def last_step(folder: Path) -> int:
    """Returns the step of the newest checkpoint; 0 where there is none."""
    found = (folder / "checkpoints").glob("step-*/checkpoint.json")
    return max((int(manifest.parent.name.removeprefix("step-")) for manifest in found), default=0)


def kill(folder: Path, steps: int, delay: float, latest: float | None) -> None:
    """Kills this process at a moment (`tests.elboflow.vae.killing.Moment`)."""
    begun, started = last_step(folder), time.monotonic()
    while last_step(folder) < begun + steps and (latest is None or time.monotonic() < started + latest):
        time.sleep(0.002)
    time.sleep(delay)
    os.kill(os.getpid(), signal.SIGKILL)


def main(request: dict[str, Any]) -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    folder = Path(request["folder"])
    if request["killed"]:
        threading.Thread(target=kill, args=(folder,), kwargs=request["killed"], daemon=True).start()
    from elboflow.vae import compute
    from elboflow.vae.compute.contract import Job
    from elboflow.vae.config import TrainingConfig
    from elboflow.vae.data import InMemory
    from elboflow.vae.families.flat import Flat
    from elboflow.vae.networks.mlp import MLP
    from tests.elboflow.vae.given import image, images

    training = TrainingConfig.model_validate(request["training"])
    compute.use(training.backend, training)
    from elboflow.vae.training import pacing, train

    pacing.SECONDS_PER_CALL = request["seconds_per_call"]
    codes = load_digits().images.astype(np.uint8)[..., None]
    examples = images(codes)
    job = Job(
        InMemory(examples.head(EXAMPLES)),
        InMemory(examples[EXAMPLES:]),
        image((8, 8, 1), 17),
        Flat(latent=4, encoder=MLP(hidden=[64]), decoder=MLP(hidden=[64])),
        training,
        seed=0,
        checkpoints=folder / "checkpoints",
        fingerprint={"seed": 0},
    )
    trained = train(job)
    (folder / "curves.json").write_text(json.dumps(trained.curves.as_json()), encoding="utf-8")


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
