"""The validation bound: the same bits and the same noise at every epoch, so that two epochs can be compared."""

from collections.abc import Callable

import numpy as np
from keras import ops

from vae import noise, objectives
from vae.backends import compiled
from vae.data import Examples
from vae.distributions import Tensor
from vae.model import VAE

BATCH = 512


def validator(model: VAE, examples: Examples, seed: int) -> Callable[[], tuple[float, float]]:
    """Returns a function that gives the mean reconstruction and KL over the examples, in nats, with today's weights."""
    size = min(BATCH, len(examples))
    padded = np.resize(np.arange(len(examples)), -(-len(examples) // size) * size).reshape(-1, size)
    batches = [
        (
            examples.images[rows],
            noise.uniform(seed, examples.keys[rows], model.spec.shape),
            noise.normal(seed, examples.keys[rows], (1, model.latent)).swapaxes(0, 1),
        )
        for rows in padded
    ]

    def by_example(codes: Tensor, uniform: Tensor, normal: Tensor) -> Tensor:
        terms = model.terms(model.prepare(codes, uniform), normal)
        return ops.stack([objectives.reconstruction(terms), objectives.kl(terms)])

    program = compiled(model, by_example)

    def validate() -> tuple[float, float]:
        values = np.concatenate([program(*batch) for batch in batches], axis=1)[:, : len(examples)]
        reconstruction, kl = values.mean(axis=1, dtype=np.float64)
        return float(reconstruction), float(kl)

    return validate
