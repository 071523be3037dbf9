"""Writes one of each folder with the code that is imported: `python -m tests.formats.write tests/formats/COMMIT`.

Done once for a version that was released; what is there is never written anew.
"""

import base64
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np

from components.evaluate import evaluate
from components.preprocess import preprocess
from components.sweep import trial
from components.train import Monitoring, train
from elboflow.vae.config import TrainingConfig
from elboflow.vae.evaluation.config import EvaluationConfig
from elboflow.vae.evaluation.evaluators import Result
from elboflow.vae.model import ModelConfig
from elboflow.vae.watch import WatchStoppedError
from preprocessing.config import DataConfig

# Figures are large, and nothing reads them.
DOT = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg==")


def main() -> None:
    """Writes dataset, model, evaluation, a stopped training's checkpoint and a trial below the current folder."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = digits.images[:150]
    source = Path("digits.npz")
    np.savez_compressed(
        source,
        image=images.astype(np.uint8)[..., None],
        label=digits.target[:150],
        ink=images.mean((1, 2)).astype(np.float32),
    )
    data = DataConfig.model_validate(
        {
            "source": {"kind": "npz", "path": str(source)},
            "features": {
                "image": {"kind": "image", "shape": [8, 8, 1], "range": [0, 16]},
                "label": {"kind": "category"},
                "ink": {"kind": "number"},
            },
            "splits": {"train": 0.6, "validation": 0.2, "test": 0.2},
        }
    )
    preprocess(data, "dataset")
    source.unlink()
    network = {"kind": "mlp", "hidden": [8]}
    model = ModelConfig.model_validate({"latent": 2, "encoder": network, "decoder": network})
    training = TrainingConfig.model_validate(
        {"epochs": 3, "batch_size": 32, "checkpoints": {"every_steps": 2, "keep": 1}}
    )
    try:
        stopped = Monitoring(watch=lambda epoch, elbo: epoch < 2)
        train("dataset", "stopped", model, training, 0, monitoring=stopped)
    except WatchStoppedError:
        train("dataset", "model", model, training, 0)
    from elboflow.vae.evaluation import evaluate as evaluation

    merged = evaluation.merged

    def without_pictures(results: Sequence[Result]) -> Result:
        found = merged(results)
        return replace(found, figures=[replace(figure, content=DOT) for figure in found.figures])

    with mock.patch.object(evaluation, "merged", without_pictures):
        evaluate("dataset", "model", "evaluation", EvaluationConfig(bound_samples=5, bootstrap_samples=100), seed=0)
    sections = {"data": data, "model": model, "training": training}
    experiment = {name: section.model_dump(mode="json") for name, section in sections.items()}
    candidate = trial.Candidate({"model.latent": 2}, {**experiment, "seed": 0})
    trial.attempt("dataset", candidate, Path("trial"), "sweep-1")


if __name__ == "__main__":
    Path(sys.argv[1]).mkdir(parents=True)
    os.chdir(sys.argv[1])
    main()
