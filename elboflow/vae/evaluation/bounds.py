"""What each example's log-likelihood is at least: the ELBO and the importance-weighted bound."""

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from elboflow.settings import WorkError
from elboflow.settings.text import counted
from elboflow.vae import noise, objectives
from elboflow.vae.backends import OUTPUTS_PER_CALL, compiled
from elboflow.vae.data import Examples
from elboflow.vae.distributions import Tensor
from elboflow.vae.model import VAE

# Noise held for one batch: 256 MB of float32, reached beyond some 40,000 samples of 16 dimensions for 100 examples.
_NOISE_PER_BATCH = 2**26


@dataclass(frozen=True)
class Bounds:
    """The values of each example, in nats.

    With the importance weights w = p(x|z) p(z) / q(z|x) of k samples z from q(z|x), `elbo` is the mean of log w and
    `log_likelihood` the logarithm of the mean of w, over the same samples; so by Jensen's inequality the first is at
    most the second for every single example, not only in expectation. `kl` is analytic, and `reconstruction` is their
    sum: an unbiased estimate of E_q log p(x|z) with log q(z|x) − log p(z) as its control variate, whose variance
    vanishes where q is the true posterior.

    Attributes:
        keys: The examples' identities, int64 `[examples]`.
        elbo: The evidence lower bound, `[examples]`: reconstruction − kl, exactly.
        reconstruction: E_q log p(x|z), `[examples]`.
        kl: KL(q(z|x) ‖ p(z)), `[examples]`.
        log_likelihood: The importance-weighted bound on log p(x) (Burda et al., 2016, equation 8), `[examples]`.
        posterior_mean: The mean of q(z|x), `[examples, latent]`.
        kl_by_unit: KL of each latent unit, `[examples, latent]`.
    """

    keys: np.ndarray
    elbo: np.ndarray
    reconstruction: np.ndarray
    kl: np.ndarray
    log_likelihood: np.ndarray
    posterior_mean: np.ndarray
    kl_by_unit: np.ndarray

    def __len__(self) -> int:
        return len(self.keys)


def bounds(model: VAE, examples: Examples, samples: int, seed: int, batch_size: int) -> Bounds:
    """Returns the bounds of each example.

    They are a function of weights, example, `samples` and `seed`: neither the order of the examples, nor the size of
    batches or calls changes them beyond rounding. Memory is bounded for any `samples`.

    Args:
        model: The model.
        examples: The examples, at least one.
        samples: k, the importance samples for each example.
        seed: Fixes the samples, and the bits or the dequantisation of each example.
        batch_size: Examples in one compiled call; fewer where they would not fit in memory.

    Raises:
        WorkError: There are no examples, they do not fit the model, or a bound is not finite.
    """
    examples.check(model.spec, "test")
    # A power of two for fewer examples than a batch: a server asked for 1, 2, 3 … compiles a handful of programs.
    few = 1 << (len(examples) - 1).bit_length()
    in_memory = max(1, min(_NOISE_PER_BATCH // (samples * model.latent), OUTPUTS_PER_CALL // model.outputs))
    batch = min(batch_size, few, in_memory)
    calls = -(-samples // max(1, OUTPUTS_PER_CALL // (batch * model.outputs)))
    program = _program(model)
    parts = [
        _of_batch(program, model, examples, rows, samples, -(-samples // calls), seed)
        for rows in _batches(len(examples), batch)
    ]
    columns = [np.concatenate(column)[: len(examples)] for column in zip(*parts, strict=True)]
    result = Bounds(examples.keys, *columns)
    _check_finite(result)
    return result


@functools.lru_cache(maxsize=1)  # compiling takes a second, once for several evaluations of a model
def _program(model: VAE) -> Callable[..., tuple[np.ndarray, ...]]:
    def of_samples(codes: Tensor, uniform: Tensor, normal: Tensor) -> tuple[Tensor, ...]:
        x = model.prepare(codes, uniform)
        terms = model.terms(x, normal)
        posterior = model.encode(x)
        log_weight = terms.log_likelihood + terms.log_prior - terms.log_posterior
        return log_weight, objectives.kl(terms), posterior.mean, model.kl_by_unit(posterior)

    return compiled(model, of_samples)


def _batches(examples: int, batch: int) -> Iterator[np.ndarray]:
    """Yields rows of one fixed number, so that nothing compiles twice; the last batch repeats rows to be full."""
    for start in range(0, examples, batch):
        yield np.minimum(np.arange(start, start + batch), examples - 1)


def _of_batch(
    program: Callable[..., tuple[np.ndarray, ...]],
    model: VAE,
    examples: Examples,
    rows: np.ndarray,
    samples: int,
    at_once: int,
    seed: int,
) -> tuple[np.ndarray, ...]:
    codes, keys = examples.images[rows], examples.keys[rows]
    uniform = model.uniform(seed, keys)
    normal = noise.normal(seed, keys, (samples, model.latent)).swapaxes(0, 1)
    total = np.zeros(len(rows))
    log_sum = np.full(len(rows), -np.inf)
    for start in range(0, samples, at_once):
        drawn = normal[start : start + at_once]
        surplus = at_once - len(drawn)
        padded = np.pad(drawn, ((0, surplus), (0, 0), (0, 0)))
        log_weight, kl, mean, kl_by_unit = program(codes, uniform, padded)
        log_weight = log_weight[: len(drawn)].astype(np.float64)
        total += log_weight.sum(axis=0)
        with np.errstate(invalid="ignore"):  # NaN is an error that names the example, below
            log_sum = np.logaddexp(log_sum, np.logaddexp.reduce(log_weight, axis=0))
    elbo, kl = total / samples, kl.astype(np.float64)
    return elbo, elbo + kl, kl, log_sum - np.log(samples), mean.astype(np.float64), kl_by_unit.astype(np.float64)


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
