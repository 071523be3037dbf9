"""What one backend computes, in a process of its own: `python backend_process.py BACKEND FOLDER`.

FOLDER holds `given.npz` and saved models; `BACKEND.json` is written there.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from elboflow.vae import compute, noise
from elboflow.vae.compute.contract import Job
from elboflow.vae.config import EMA, Constant, Muon, TrainingConfig
from elboflow.vae.data import Examples, InMemory
from elboflow.vae.families.flat import Flat
from elboflow.vae.likelihoods.gaussian import Gaussian
from elboflow.vae.networks.mlp import MLP
from tests.elboflow.vae.given import image, images, read, weights

RATE = Constant(initial=3e-3)
LARGEST_SEED = 2**31 - 1
SPECS = image((8, 8, 1), 17)


def main(backend: str, folder: Path) -> None:
    compute.use(backend)
    with np.load(folder / "given.npz") as given:
        examples = Examples({name: given[name] for name in given.files}, np.arange(16))
    split = images(examples.features["image"])
    result = {
        "terms": {path.stem: terms(path, examples) for path in sorted(folder.glob("*.keras"))},
        "curve": curve(backend, split, folder / backend),
        "micro_batches": {parts: everything(split, parts) for parts in (1, 4)},
        "float16": overflow(split),
    }
    (folder / f"{backend}.json").write_text(json.dumps(result), encoding="utf-8")


def terms(path: Path, examples: Examples) -> list[Any]:
    """Terms of the bound, what is decoded of the posterior's mean, and what is generated."""
    from elboflow.vae.evaluation import samples
    from elboflow.vae.terms import samples_first

    model = read(path)
    draws = model.draws(2)

    def function(batch: Any, numbers: Any) -> Any:
        found = model.terms(batch, samples_first(draws, numbers))
        return found.log_likelihood, found.log_prior, found.log_posterior, found.kl

    numbers = noise.drawn(draws, 0, examples.keys)
    made = compute.compiled(model, function)(dict(examples.padded(model.specs).features), numbers)
    decoded = samples.reconstruct(model, examples, seed=0)
    generated = samples.generate(model, len(examples), 0, samples.condition_of(model, examples))
    return [
        part.tolist() for part in (*made, *(found[name] for found in (decoded, generated) for name in sorted(found)))
    ]


def curve(backend: str, split: Examples, checkpoints: Path) -> list[float]:
    """The validation ELBO of a training on the examples that it is judged on."""
    from elboflow.vae.training import train

    training = TrainingConfig(backend=backend, epochs=30, batch_size=4, learning_rate=RATE, early_stopping=None)
    model = Flat(latent=3, encoder=MLP(hidden=[16]), decoder=MLP(hidden=[16]))
    trained = train(Job(InMemory(split), InMemory(split), SPECS, model, training, LARGEST_SEED, checkpoints, {}))
    return trained.curves.validation["elbo"]


def everything(split: Examples, micro_batches: int) -> dict[str, Any]:
    """Losses and final weights of steps with all that can be asked of them at once."""
    from tests.elboflow.vae.stepping import stepping

    network = MLP(hidden=[16], dropout=0.2)
    training = TrainingConfig(
        learning_rate=RATE,
        optimizer=Muon(),
        ema=EMA(decay=0.5),
        gradient_clip=10.0,
        gradient_clip_value=0.5,
        micro_batches=micro_batches,
    )
    steps = stepping(Flat(latent=3, encoder=network, decoder=network), training, split, SPECS)
    losses = steps.run(0, 16)["loss"].tolist()
    (player,) = steps.model.players
    steps.optimizer.finalize_variable_values(list(player.variables))
    return {"losses": losses, "weights": [values.tolist() for values in weights(steps.model)]}


def overflow(split: Examples) -> dict[str, Any]:
    """A step in float16 whose gradient overflows, and the steps after it that find the scale of the loss."""
    from tests.elboflow.vae.stepping import stepping

    config = Flat(latent=3, encoder=MLP(hidden=[16]), decoder=MLP(hidden=[16]), likelihood=Gaussian(scale=0.01))
    steps = stepping(config, TrainingConfig(learning_rate=RATE, precision="float16"), split, SPECS)
    before = weights(steps.model)
    (first,) = steps.run(0, 1)["skipped"].tolist()
    unchanged = all((old == new).all() for old, new in zip(before, weights(steps.model), strict=True))
    return {
        "first_skipped": int(first),
        "unchanged": unchanged,
        "skipped": int(first + steps.run(1, 24)["skipped"].sum()),
        "scale": float(steps.optimizer.dynamic_scale),
        "iterations": int(steps.optimizer.iterations),
    }


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
