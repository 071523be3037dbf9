"""What one backend computes, in a process of its own: `python backend_process.py BACKEND FOLDER`.

FOLDER holds `given.npz` and saved models; `BACKEND.json` is written there.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from elboflow.vae import backends
from elboflow.vae.config import EMA, MLP, Constant, Gaussian, ModelConfig, Muon, TrainingConfig
from elboflow.vae.data import Examples, ImageSpec, InMemory

RATE = Constant(initial=3e-3)
LARGEST_SEED = 2**31 - 1
SPEC = ImageSpec((8, 8, 1), 17)


def main(backend: str, folder: Path) -> None:
    backends.use(backend)
    from elboflow.vae.model import load

    given = np.load(folder / "given.npz")
    split = Examples(given["codes"], np.arange(len(given["codes"])))
    result = {
        "terms": {path.stem: terms(load(path), given) for path in sorted(folder.glob("*.keras"))},
        "curve": curve(backend, split, folder / backend),
        "micro_batches": {parts: everything(split, parts) for parts in (1, 4)},
        "float16": overflow(split),
    }
    (folder / f"{backend}.json").write_text(json.dumps(result), encoding="utf-8")


def terms(model: Any, given: Any) -> list[Any]:
    def function(codes: Any, uniform: Any, noise: Any) -> Any:
        terms = model.terms(model.prepare(codes, uniform), noise)
        return terms.log_likelihood, terms.log_prior, terms.log_posterior, terms.kl

    made = backends.compiled(model, function)(given["codes"], given["uniform"], given["noise"])
    return [part.tolist() for part in made]


def curve(backend: str, split: Examples, checkpoints: Path) -> list[float]:
    """The validation ELBO of a training on the examples that it is judged on."""
    from elboflow.vae.training import train

    training = TrainingConfig(backend=backend, epochs=30, batch_size=4, learning_rate=RATE, early_stopping=None)
    model = ModelConfig(latent=3, encoder=MLP(hidden=[16]), decoder=MLP(hidden=[16]), output_bias="zeros")
    trained = train(InMemory(split), split, SPEC, model, training, LARGEST_SEED, checkpoints, {})
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
    steps = stepping(ModelConfig(latent=3, encoder=network, decoder=network), training, split, SPEC)
    losses = steps.run(0, 16)[:, 0].tolist()
    steps.optimizer.finalize_variable_values(steps.model.trainable_variables)
    return {"losses": losses, "weights": [weights.tolist() for weights in steps.model.get_weights()]}


def overflow(split: Examples) -> dict[str, Any]:
    """A step in float16 whose gradient overflows, and the steps after it that find the scale of the loss."""
    from tests.elboflow.vae.stepping import stepping

    config = ModelConfig(latent=3, encoder=MLP(hidden=[16]), decoder=MLP(hidden=[16]), likelihood=Gaussian(scale=0.01))
    steps = stepping(config, TrainingConfig(learning_rate=RATE, precision="float16"), split, SPEC)
    before = steps.model.get_weights()
    first = steps.run(0, 1)[0]
    unchanged = all((old == new).all() for old, new in zip(before, steps.model.get_weights(), strict=True))
    return {
        "first_skipped": int(first[-1]),
        "unchanged": unchanged,
        "skipped": int(first[-1] + steps.run(1, 24)[:, -1].sum()),
        "scale": float(steps.optimizer.dynamic_scale),
        "iterations": int(steps.optimizer.iterations),
    }


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
