"""Lower bounds on the log-likelihood of each example: the ELBO and the importance-weighted bound."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from elboflow.settings import WorkError
from elboflow.settings.text import counted
from elboflow.vae import noise, ops
from elboflow.vae.batches import batches
from elboflow.vae.compute import OUTPUTS_PER_CALL, program
from elboflow.vae.data import Examples, Source
from elboflow.vae.model import Model
from elboflow.vae.terms import Batch, Tensor, samples_first

# The most noise values of a batch: 256 MB of float32, or 40,000 samples of 16 dimensions for 100 examples.
_NOISE_PER_BATCH = 2**26


@dataclass(frozen=True)
class Bounds:
    """The values of each example, in nats.

    Let w = p(x|z) p(z) / q(z|x) be the importance weights of k samples z from q(z|x). `elbo` is the mean of log w, and
    `log_likelihood` the logarithm of the mean of w, over the same samples. By Jensen's inequality, `elbo` is at most
    `log_likelihood` for every single example, not only in expectation. `kl` is analytic. `reconstruction` is elbo + kl:
    an unbiased estimate of E_q log p(x|z) with log q(z|x) − log p(z) as control variate, whose variance vanishes if q
    is the true posterior.

    Attributes:
        keys: The keys of the examples, int64 `[examples]`.
        elbo: The evidence lower bound, `[examples]`: reconstruction − kl, exactly.
        reconstruction: E_q log p(x|z), `[examples]`.
        kl: KL(q(z|x) ‖ p(z)), `[examples]`.
        log_likelihood: The importance-weighted bound on log p(x) (Burda et al., 2016, equation 8), `[examples]`.
        posterior_mean: The mean of q(z|x), `[examples, units]`, concatenated over the layers of latents.
        kl_by_unit: KL of each latent unit, `[examples, units]`; None if a layer has no closed form.
        dimensions: The number of values of each example, `[examples]`; None if bits per dimension are meaningless.
    """

    keys: np.ndarray
    elbo: np.ndarray
    reconstruction: np.ndarray
    kl: np.ndarray
    log_likelihood: np.ndarray
    posterior_mean: np.ndarray
    kl_by_unit: np.ndarray | None = None
    dimensions: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.keys)


def bounds(model: Model, source: Source, samples: int, seed: int, batch_size: int) -> Bounds:
    """Returns the bounds of each example, in the order of the source.

    The bounds are a function of weights, example, `samples` and `seed`. The order of the examples and the size of
    batches change only their rounding. Memory is bounded for any `samples`.

    Args:
        model: The model.
        source: The examples, at least one.
        samples: k, the number of importance samples for each example.
        seed: The seed of the samples, and of the binarisation or dequantisation of each example.
        batch_size: The examples of a compiled call; reduced if they would not fit into memory.

    Raises:
        WorkError: There are no examples, they do not fit the model, or a bound is not finite.
    """
    # For small requests the batch is a power of two, so that a server with requests of 1, 2, 3 … compiles few programs.
    few = 1 << max(sum(source.counts) - 1, 0).bit_length()
    of_sample = sum(math.prod(draw.shape) for draw in model.draws(1))
    in_memory = max(1, min(_NOISE_PER_BATCH // (samples * of_sample), OUTPUTS_PER_CALL // model.outputs))
    batch = min(batch_size, few, in_memory)
    calls = -(-samples // max(1, OUTPUTS_PER_CALL // (batch * model.outputs)))
    compute = program(model, "bounds", lambda values, numbers: _of_samples(model, values, numbers))
    parts = []
    for padded in batches(source, model.specs, batch, "test"):
        found = _of_batch(compute, model, padded.examples, samples, -(-samples // calls), seed)
        found["keys"] = padded.examples.keys
        if (dimensions := model.likelihood.dimensions(padded.examples.features)) is not None:
            found["dimensions"] = dimensions
        parts.append({name: values[: padded.count] for name, values in found.items()})
    result = Bounds(**{name: np.concatenate([part[name] for part in parts]) for name in parts[0]})
    _check_finite(result)
    return result


def _of_samples(model: Model, batch: Batch, numbers: Batch) -> dict[str, Tensor]:
    """Returns log-weights `[batch, samples]`, and mean and KL of each example's posterior."""
    terms = model.terms(batch, samples_first(model.draws(1), numbers))
    closed = [latent for latent in terms.latents if latent.kl_by_unit is not None]
    sampled = [latent for latent in terms.latents if latent.kl_by_unit is None]
    means = [latent.posterior.mean for latent in terms.latents]
    found = {
        "log_weight": ops.transpose(terms.log_weight),
        "posterior_mean": ops.concatenate([ops.mean(m, axis=0) if len(m.shape) == 3 else m for m in means], axis=-1),
    }
    if closed:
        found["kl"] = sum(latent.kl for latent in closed)
    if sampled:
        found["log_ratio"] = ops.transpose(sum(latent.log_posterior - latent.log_prior for latent in sampled))
    else:
        found["kl_by_unit"] = ops.concatenate([latent.kl_by_unit for latent in closed], axis=-1)
    return found


def _of_batch(
    compute: Callable[..., dict[str, np.ndarray]],
    model: Model,
    examples: Examples,
    samples: int,
    at_once: int,
    seed: int,
) -> dict[str, np.ndarray]:
    drawn = noise.drawn(model.draws(samples), seed, examples.keys)
    of_samples = {draw.name for draw in model.draws(samples) if draw.samples is not None}
    total, ratios = np.zeros(len(examples)), np.zeros(len(examples))
    log_sum = np.full(len(examples), -np.inf)
    for start in range(0, samples, at_once):
        count = min(at_once, samples - start)
        numbers = {
            name: _padded(values[:, start : start + at_once], at_once) if name in of_samples else values
            for name, values in drawn.items()
        }
        found = compute(dict(examples.features), numbers)
        log_weight = found["log_weight"][:, :count].astype(np.float64)
        total += log_weight.sum(axis=1)
        with np.errstate(invalid="ignore"):  # `_check_finite` reports NaN with the example
            log_sum = np.logaddexp(log_sum, np.logaddexp.reduce(log_weight, axis=1))
        if "log_ratio" in found:
            ratios += found["log_ratio"][:, :count].astype(np.float64).sum(axis=1)
    elbo, kl = total / samples, ratios / samples + found.get("kl", np.zeros(1)).astype(np.float64)
    wide: dict[str, np.ndarray] = {
        name: found[name].astype(np.float64) for name in ("posterior_mean", "kl_by_unit") if name in found
    }
    return {"elbo": elbo, "reconstruction": elbo + kl, "kl": kl, "log_likelihood": log_sum - np.log(samples), **wide}


def _padded(numbers: np.ndarray, samples: int) -> np.ndarray:
    """Returns numbers `[examples, samples, …]`, padded with zeros to a fixed number of samples."""
    return np.pad(numbers, [(0, 0), (0, samples - numbers.shape[1]), *[(0, 0)] * (numbers.ndim - 2)])


def _check_finite(result: Bounds) -> None:
    finite = np.isfinite(result.elbo) & np.isfinite(result.kl) & np.isfinite(result.log_likelihood)
    if not finite.all():
        wrong = np.flatnonzero(~finite)
        first = wrong[0]
        raise WorkError(
            f"the bound is not finite for {len(wrong):,} of {counted(len(result), 'test example')}, first for key "
            f"{result.keys[first]}: log-likelihood {result.log_likelihood[first]}, KL {result.kl[first]} nats; "
            "the model's weights are of no use"
        )
