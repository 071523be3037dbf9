"""The validation bound: the same bits and the same noise at every epoch, so that two epochs can be compared."""

from collections.abc import Callable

import numpy as np
from keras import ops

from elboflow.vae import noise, objectives
from elboflow.vae.backends import OUTPUTS_PER_CALL, compiled
from elboflow.vae.data import Examples
from elboflow.vae.distributions import Tensor
from elboflow.vae.model import VAE

_BATCH = 512
# Up to 256 MB of noise is kept from epoch to epoch; beyond, it is drawn anew, which is slower and gives the same.
_NOISE_KEPT = 2**26

Batch = tuple[np.ndarray, np.ndarray, np.ndarray]


def validator(model: VAE, examples: Examples, seed: int) -> Callable[[], tuple[float, float]]:
    """Returns a function that gives the mean reconstruction and KL over the examples, in nats, with today's weights."""
    size = max(1, min(_BATCH, len(examples), OUTPUTS_PER_CALL // model.outputs))
    padded = np.resize(np.arange(len(examples)), -(-len(examples) // size) * size).reshape(-1, size)

    def batch(rows: np.ndarray) -> Batch:
        keys = examples.keys[rows]
        normal = noise.normal(seed, keys, (1, model.latent)).swapaxes(0, 1)
        return examples.images[rows], model.uniform(seed, keys), normal

    def by_example(codes: Tensor, uniform: Tensor, normal: Tensor) -> Tensor:
        terms = model.terms(model.prepare(codes, uniform), normal)
        return ops.stack([objectives.reconstruction(terms), objectives.kl(terms)])

    program = compiled(model, by_example)
    drawn = model.spec.dimensions * model.likelihood.is_random + model.latent
    kept: list[Batch] = []

    def validate() -> tuple[float, float]:
        if not kept and len(examples) * drawn <= _NOISE_KEPT:
            kept.extend(map(batch, padded))
        values = [program(*given) for given in kept or map(batch, padded)]
        reconstruction, kl = np.concatenate(values, axis=1)[:, : len(examples)].mean(axis=1, dtype=np.float64)
        return float(reconstruction), float(kl)

    return validate
