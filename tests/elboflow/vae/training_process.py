"""A training as a process of its own, for tests that kill it: `python training_process.py REQUEST`, in JSON.

Its checkpoints, and at its end its curves, are in the request's folder; its lines in the log go to stderr.
"""

import json
import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_digits

EXAMPLES = 1536


def main(request: dict[str, Any]) -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    folder = Path(request["folder"])
    from elboflow.vae import backends
    from elboflow.vae.config import MLP, ModelConfig, TrainingConfig

    training = TrainingConfig.model_validate(request["training"])
    backends.use(training.backend, training)
    from elboflow.vae.data import Examples, ImageSpec, InMemory
    from elboflow.vae.training import calls, train

    calls.SECONDS_PER_CALL = request["seconds_per_call"]
    codes = load_digits().images.astype(np.uint8)[..., None]
    images = Examples(codes, np.arange(len(codes)))
    trained = train(
        InMemory(images.head(EXAMPLES)),
        images[EXAMPLES:],
        ImageSpec((8, 8, 1), 17),
        ModelConfig(latent=4, encoder=MLP(hidden=[64]), decoder=MLP(hidden=[64])),
        training,
        seed=0,
        checkpoints=folder / "checkpoints",
        identity={"seed": 0},
    )
    (folder / "curves.json").write_text(json.dumps(trained.curves.as_json()), encoding="utf-8")


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
