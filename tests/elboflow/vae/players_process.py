"""Models with state and with several players on one backend: `python players_process.py BACKEND FOLDER`.

`BACKEND.json` is written into FOLDER.
"""

import contextlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_digits

from elboflow.vae import compute
from elboflow.vae.compute.contract import Job
from elboflow.vae.config import Adam, Checkpoints, Constant, TrainingConfig
from elboflow.vae.data import Examples, InMemory
from elboflow.vae.networks.mlp import MLP
from elboflow.vae.watch import WatchStoppedError
from tests.elboflow.vae.given import image, images, weights

SPECS = image((8, 8, 1), 17)
NETWORKS = {"encoder": MLP(hidden=[16]), "decoder": MLP(hidden=[16])}
RATE = Constant(initial=3e-3)
STEPS = 6


def main(backend: str, folder: Path) -> None:
    compute.use(backend)
    from tests.elboflow.vae.players import AveragedConfig, DuelConfig

    split = images(load_digits().images[:64].astype(np.uint8)[..., None])
    configs = {"averaged": AveragedConfig(latent=3, **NETWORKS), "duel": DuelConfig(latent=3, **NETWORKS)}
    found = {
        name: {
            "at once": stepped(config, split, [STEPS]),
            "one by one": stepped(config, split, [1] * STEPS),
            "in parts": stepped(config, split, [STEPS], micro_batches=4),
            "first average": first_average(config, split),
            "resumed": resumed(config, split, folder / f"{backend}-{name}"),
        }
        for name, config in configs.items()
    }
    found["traces"] = traces(split)
    (folder / f"{backend}.json").write_text(json.dumps(found), encoding="utf-8")


def stepped(config: Any, split: Examples, calls: list[int], **settings: Any) -> dict[str, Any]:
    """Measures and variables of steps that are made in several calls."""
    from tests.elboflow.vae.stepping import stepping

    # A large epsilon: Adam divides by the gradient's size, and would make much of the last digit of a tiny one.
    training = TrainingConfig(learning_rate=RATE, optimizer=Adam(epsilon=1e-3), **settings)
    steps = stepping(config, training, split, SPECS)
    first, found = 0, []
    for count in calls:
        found.append(steps.run(first, count))
        first += count
    return {
        "measures": {name: np.concatenate([part[name] for part in found]).tolist() for name in found[0]},
        "weights": [values.tolist() for values in weights(steps.model)],
        "average": np.array(steps.model.average.value).tolist(),
        "iterations": [int(turn.optimizer.iterations) for turn in steps.step.turns],
    }


def first_average(config: Any, split: Examples) -> dict[str, Any]:
    """The average after a step, and the mean over the examples that it is of."""
    from elboflow.vae.evaluation import samples
    from tests.elboflow.vae.players import DECAY
    from tests.elboflow.vae.stepping import stepping

    plain = split.features["image"] // 9  # binary images: no noise decides what the encoder reads
    binary = images(plain)
    specs = image((8, 8, 1), 2)
    steps = stepping(config, TrainingConfig(learning_rate=RATE), binary, specs)
    (means,) = samples.encode(steps.model, binary, seed=0)
    steps.run(0, 1)
    found = np.array(steps.model.average.value)
    return {"found": found.tolist(), "expected": ((1 - DECAY) * means.mean(axis=0)).tolist()}


def resumed(config: Any, split: Examples, folder: Path) -> dict[str, Any]:
    """The ends of a training, and of one that was stopped after two epochs and went on in its checkpoints.

    The model of the first is evaluated, too.
    """
    from elboflow.vae.training import train

    training = TrainingConfig(
        epochs=4,
        batch_size=16,
        learning_rate=RATE,
        ema={"decay": 0.5},
        early_stopping=None,
        checkpoints=Checkpoints(every_minutes=None),
    )

    def trained(name: str, last: int) -> Any:
        source = InMemory(split)
        job = Job(source, source, SPECS, config, training, 0, folder / name, {})
        return train(job, watch=lambda epoch, elbo: epoch < last)

    def end(found: Any) -> dict[str, Any]:
        curves = {"train": found.curves.train, "validation": found.curves.validation}
        return {"curves": curves, "weights": [values.tolist() for values in weights(found.model)]}

    whole = trained("whole", 100)
    with contextlib.suppress(WatchStoppedError):
        trained("stopped", 2)
    again = trained("stopped", 100)
    return {"whole": end(whole), "again": end(again), "evaluated": evaluated(whole, training, split, folder)}


def evaluated(trained: Any, training: TrainingConfig, split: Examples, folder: Path) -> dict[str, Any]:
    """The metrics of a model that was saved and loaded, and the names of the figures."""
    from elboflow.vae import folder as models
    from elboflow.vae.evaluation.config import EvaluationConfig
    from elboflow.vae.evaluation.evaluate import evaluate
    from elboflow.vae.evaluation.evaluators import DatasetDescription

    models.save(folder / "model", trained, models.Provenance(0, training, "a" * 64, "1.2.3"))
    data = DatasetDescription("a" * 64, {"test": 64})
    settings = EvaluationConfig(bound_samples=10, bootstrap_samples=100)
    metrics = evaluate(models.load(folder / "model"), InMemory(split), data, settings, 0, folder / "evaluation")
    return {
        "metrics": {name: metric.value for name, metric in metrics.items()},
        "figures": sorted(path.stem for path in (folder / "evaluation" / "figures").iterdir()),
    }


def traces(split: Examples) -> list[int]:
    """How often the bounds of two models, which are asked in turn, ran as Python, after each call."""
    from elboflow.vae.evaluation.bounds import bounds
    from elboflow.vae.families.flat import Flat

    models, counts, told = [Flat(latent=3, **NETWORKS).build(SPECS, seed) for seed in (0, 1)], [0], []
    for model in models:
        model.terms = counted(model.terms, counts)
    for model in models * 3:
        bounds(model, InMemory(split), 2, 0, 16)
        told.append(counts[0])
    return told


def counted(function: Any, counts: list[int]) -> Any:
    def counting(*given: Any) -> Any:
        counts[0] += 1
        return function(*given)

    return counting


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
