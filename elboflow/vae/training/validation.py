"""The validation bound, with the same binarisation and the same noise in every epoch, so that epochs are comparable."""

import math
from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np

from elboflow.vae import noise, ops
from elboflow.vae.batches import batches, bytes_of
from elboflow.vae.compute import OUTPUTS_PER_CALL, compiled
from elboflow.vae.data import Source
from elboflow.vae.model import Model
from elboflow.vae.terms import Batch, Tensor, samples_first

_BATCH = 512
# Up to 256 MB of noise are cached for all epochs. More noise is drawn again in every epoch: slower, same values.
_NOISE_KEPT = 2**26

Arrays: TypeAlias = tuple[dict[str, np.ndarray], dict[str, np.ndarray], int]
"""Features and noise of a batch, and the number of examples without padding."""


def validator(model: Model, source: Source, seed: int, memory_megabytes: float) -> Callable[[], dict[str, float]]:
    """Returns a function that computes the mean of each measure over a split, in nats, with the current weights.

    Args:
        model: The model.
        source: The split.
        seed: The seed of the noise of each example.
        memory_megabytes: The largest size of a split, in 10^6 bytes, that is cached in memory. A larger split is read
            again in every call.
    """
    size = max(1, min(_BATCH, sum(source.counts), OUTPUTS_PER_CALL // model.outputs))
    draws = model.draws(1)

    def by_example(batch: Batch, numbers: Batch) -> dict[str, Tensor]:
        terms = model.terms(batch, samples_first(draws, numbers))
        count = terms.log_likelihood.shape[1]
        return {name: ops.broadcast_to(values, (count,)) for name, values in terms.measures.items()}

    def arrays() -> Iterator[Arrays]:
        for padded in batches(source, model.specs, size, "validation"):
            examples = padded.examples
            yield dict(examples.features), noise.drawn(draws, seed, examples.keys), padded.count

    program = compiled(model, by_example)
    numbers = sum(source.counts) * sum(math.prod(draw.of_example) for draw in draws)
    fits = numbers <= _NOISE_KEPT and bytes_of(source, model.specs) <= memory_megabytes * 1e6
    kept: list[Arrays] = []

    def validate() -> dict[str, float]:
        if fits and not kept:
            kept.extend(arrays())
        columns: dict[str, list[np.ndarray]] = {}
        for batch, drawn, count in kept or arrays():
            for name, values in program(batch, drawn).items():
                columns.setdefault(name, []).append(values[:count])
        return {name: float(np.concatenate(parts).mean(dtype=np.float64)) for name, parts in columns.items()}

    return validate
