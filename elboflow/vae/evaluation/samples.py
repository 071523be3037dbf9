"""Inference with a trained model: generation, encoding, decoding, reconstruction and traversal.

Reports, the command line and servers use these functions. The programs of a model are compiled once and shared.
"""

from collections.abc import Iterator, Mapping

import numpy as np

from elboflow.settings import RequestError
from elboflow.vae import noise
from elboflow.vae import spec as specs_
from elboflow.vae.compute import program
from elboflow.vae.data import Examples
from elboflow.vae.model import Model
from elboflow.vae.terms import Draw

_BATCH = 64
Arrays = dict[str, np.ndarray]
Latents = tuple[np.ndarray, ...]


def generate(model: Model, count: int, seed: int, given: Mapping[str, np.ndarray] | None = None) -> Arrays:
    """Returns `count` new examples, decoded from z ~ p(z).

    Args:
        model: The model.
        count: The number of examples. A larger count only appends examples.
        seed: The seed. The same seed gives the same examples.
        given: The features that the model is conditioned on, `[count, …]` by name.

    Returns:
        The values of each feature, `[count, …]`: samples x ~ p(x|z) of numbers, classes and texts; the expected levels
        of images, scaled to [0, 1].

    Raises:
        RequestError: A feature that the model is conditioned on is missing.
    """
    condition = dict(given or {})
    if missing := [name for name in model.given if name not in condition]:
        raise RequestError(f"the model is conditioned on {', '.join(missing)}, which is not given")
    drawn = noise.drawn((*model.prior_draws, *model.decoding_draws), seed, np.arange(count))
    values = {draw.name: drawn.pop(draw.name) for draw in model.decoding_draws}
    sample = program(model, "from_prior", model.from_prior)
    parts = [
        tuple(z[:rows] for z in sample(numbers, batch)) for (numbers, batch), rows in _padded((drawn, condition), count)
    ]
    return decode(model, tuple(np.concatenate(layer) for layer in zip(*parts, strict=True)), condition, values)


def decode(
    model: Model,
    latents: Latents,
    given: Mapping[str, np.ndarray] | None = None,
    numbers: Mapping[str, np.ndarray] | None = None,
) -> Arrays:
    """Returns the values of each feature given the latents, `[examples, …]`: expected, most probable or sampled ones.

    Args:
        model: The model.
        latents: The latents of each layer, from the top down, `[examples, units]`.
        given: The features that the model is conditioned on, `[examples, …]` by name.
        numbers: The draws of `Model.decoding_draws`, `[examples, …]` by name, for samples x ~ p(x|z); None for the
            expected or most probable values.
    """
    condition, drawn = dict(given or {}), dict(numbers or {})
    decoded = program(model, "decode", model.decode)
    rows = tuple(z.astype(np.float32) for z in latents)
    parts = [
        {name: values[:count] for name, values in decoded(z, batch, own).items()}
        for (z, batch, own), count in _padded((rows, condition, drawn), len(rows[0]))
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def units(model: Model, given: Mapping[str, np.ndarray]) -> list[int]:
    """Returns the number of units of each layer of latents, from the top down.

    Args:
        model: The model.
        given: The features that the model is conditioned on, `[examples, …]` by name, of at least one example.
    """
    drawn = noise.drawn(model.prior_draws, 0, np.arange(1))
    condition = {name: values[:1] for name, values in given.items()}
    sample = program(model, "from_prior", model.from_prior)
    ((numbers, batch), _) = next(_padded((drawn, condition), 1))
    return [z.shape[1] for z in sample(numbers, batch)]


def encode(model: Model, examples: Examples, seed: int) -> Latents:
    """Returns the means of q(z|x) of each layer of latents, `[examples, units]`.

    Raises:
        WorkError: The examples do not fit the model.
    """
    examples.check(model.specs, "test")
    drawn = noise.drawn(_shared(model), seed, examples.keys)
    encoded = program(model, "encode", model.encode)
    features = dict(examples.padded(model.specs).features)
    parts = [
        tuple(z[:rows] for z in encoded(batch, numbers))
        for (batch, numbers), rows in _padded((features, drawn), len(examples))
    ]
    return tuple(np.concatenate(layer) for layer in zip(*parts, strict=True))


def reconstruct(model: Model, examples: Examples, seed: int) -> Arrays:
    """Returns the expected value of each feature, given the mean of q(z|x), `[examples, …]`.

    Raises:
        WorkError: The examples do not fit the model.
    """
    return decode(model, encode(model, examples, seed), condition_of(model, examples))


def condition_of(model: Model, examples: Examples) -> Arrays:
    """Returns the features of examples that a model is conditioned on."""
    return {name: examples.features[name] for name in specs_.names({name: model.specs[name] for name in model.given})}


def traverse(model: Model, start: np.ndarray, units: np.ndarray, values: np.ndarray, given: Arrays) -> Arrays:
    """Decodes latents in which one unit at a time is set to several values; for models with one layer of latents.

    Args:
        model: The model.
        start: The z in which single units are changed, `[latent]`.
        units: The indices of the units to change, `[units]`.
        values: The values of each unit, `[values]`.
        given: The features that the model is conditioned on, `[1, …]` by name.

    Returns:
        The expected value of each feature, `[units * values, …]`, unit by unit.
    """
    z = np.broadcast_to(start, (len(units), len(values), len(start))).copy()
    for row, unit in enumerate(units):
        z[row, :, unit] = values
    rows = z.reshape(-1, len(start))
    return decode(model, (rows,), {name: np.repeat(known, len(rows), axis=0) for name, known in given.items()})


def _shared(model: Model) -> tuple[Draw, ...]:
    """Returns the draws that all samples of z share."""
    return tuple(draw for draw in model.draws(1) if draw.samples is None)


def _padded(tree: tuple, count: int) -> Iterator[tuple[tuple, int]]:
    """Yields batches padded to a fixed size, so that a program compiles once, and the rows of each without padding."""
    for first in range(0, count, _BATCH):
        rows = np.resize(np.arange(first, min(first + _BATCH, count)), _BATCH)
        yield tuple(_rows(part, rows) for part in tree), min(_BATCH, count - first)


def _rows(part: Arrays | Latents, rows: np.ndarray) -> Arrays | Latents:
    if isinstance(part, dict):
        return {name: values[rows] for name, values in part.items()}
    return tuple(values[rows] for values in part)
