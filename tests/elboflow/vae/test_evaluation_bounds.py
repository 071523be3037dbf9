"""The bounds, against a linear VAE, whose marginal likelihood is known in closed form."""

import numpy as np
import pytest

from elboflow.settings import WorkError
from elboflow.vae import noise
from elboflow.vae.data import Examples, InMemory
from elboflow.vae.families.flat import Flat
from elboflow.vae.likelihoods.gaussian import Gaussian
from elboflow.vae.networks.mlp import MLP
from elboflow.vae.terms import Draw
from tests.elboflow.vae.given import image, images

pytestmark = [pytest.mark.xdist_group("tensorflow"), pytest.mark.usefixtures("tensorflow_backend")]

SPECS = image((3, 4, 1), 256)
SPEC = SPECS["image"]
SCALE, SEED = 0.05, 11
DIMENSIONS = SPEC.size
# Orthogonal columns make the true posterior's covariance diagonal, so that the model can hold it.
WEIGHTS = np.linalg.qr(np.random.default_rng(0).normal(size=(DIMENSIONS, 3)))[0] * np.array([0.15, 0.1, 0.02])
BIAS = np.full(DIMENSIONS, 0.5)
POSTERIOR_VARIANCE = 1 / (1 + (WEIGHTS**2).sum(axis=0) / SCALE**2)


def linear_vae(shift=0.0, stretch=1.0):
    """p(x|z) = N(Wz + b, s²I); q is the true posterior, its mean shifted, its variance times `stretch`."""
    linear = MLP(hidden=[])
    model = Flat(latent=3, encoder=linear, decoder=linear, likelihood=Gaussian(scale=SCALE)).build(SPECS)
    to_mean = WEIGHTS * POSTERIOR_VARIANCE / SCALE**2
    log_variance = np.log(POSTERIOR_VARIANCE * stretch)
    model.encoder.set_weights(
        [
            np.concatenate([to_mean, np.zeros_like(to_mean)], axis=1),
            np.concatenate([shift - BIAS @ to_mean, log_variance]),
        ]
    )
    model.decoder.set_weights([WEIGHTS.T, BIAS])
    return model


@pytest.fixture(scope="module")
def examples():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(60, 3)) @ WEIGHTS.T + BIAS + SCALE * rng.normal(size=(60, DIMENSIONS))
    codes = np.clip(np.floor(x * SPEC.levels), 0, SPEC.levels - 1).astype(np.uint8)
    return images(codes.reshape(-1, *SPEC.shape), rng.integers(-(2**62), 2**62, 60))


def dequantised(examples):
    uniform = noise.drawn([Draw("x", "uniform", SPEC.shape)], SEED, examples.keys)["x"]
    return ((examples.features["image"] + uniform) / SPEC.levels).reshape(-1, DIMENSIONS).astype(np.float64)


def exact_log_likelihood(examples):
    covariance = WEIGHTS @ WEIGHTS.T + SCALE**2 * np.eye(DIMENSIONS)
    residual = dequantised(examples) - BIAS
    squared = np.einsum("nd,nd->n", residual, np.linalg.solve(covariance, residual.T).T)
    log_determinant = np.linalg.slogdet(2 * np.pi * covariance)[1]
    return -0.5 * (squared + log_determinant) - DIMENSIONS * np.log(SPEC.levels)


def test_two_draws_of_one_name_are_an_error():
    draws = [Draw("z", "normal", (2,)), Draw("x", "uniform", (3,)), Draw("z", "normal", (4,))]
    with pytest.raises(ValueError, match="two draws have the name 'z'; their names must differ"):
        noise.drawn(draws, SEED, np.arange(5))
    assert noise.drawn(draws[:2], SEED, np.arange(5)).keys() == {"z", "x"}


def bounds(model, examples, samples, batch_size=32):
    from elboflow.vae.evaluation.bounds import bounds as bounds_of

    return bounds_of(model, InMemory(examples), samples, SEED, batch_size)


def test_both_bounds_equal_the_exact_log_likelihood_when_the_posterior_is_the_true_one(examples):
    exact = exact_log_likelihood(examples)
    values = bounds(linear_vae(), examples, samples=4)
    np.testing.assert_allclose(values.elbo, exact, atol=2e-3)
    np.testing.assert_allclose(values.log_likelihood, exact, atol=2e-3)


def test_more_samples_bring_the_bound_from_the_elbo_to_the_exact_log_likelihood(examples):
    model = linear_vae(shift=0.3, stretch=1.5)
    exact = exact_log_likelihood(examples).mean()
    by_samples = [bounds(model, examples, samples) for samples in (5, 5000)]
    rising = [by_samples[-1].elbo.mean(), *(values.log_likelihood.mean() for values in by_samples)]
    assert rising == sorted(rising)
    assert exact - 0.05 < rising[-1] <= exact + 0.005
    assert rising[0] < exact - 0.3


def test_the_elbo_of_an_example_never_exceeds_its_importance_weighted_bound(examples):
    values = bounds(linear_vae(shift=-0.5, stretch=0.5), examples, samples=3)
    assert (values.elbo <= values.log_likelihood).all()
    one = bounds(linear_vae(shift=-0.5, stretch=0.5), examples, samples=1)
    np.testing.assert_allclose(one.elbo, one.log_likelihood)


def test_elbo_reconstruction_and_kl_are_their_closed_forms(examples):
    shift, stretch = 0.2, 1.3
    values = bounds(linear_vae(shift, stretch), examples, samples=4000)
    x = dequantised(examples)
    mean = (x - BIAS) @ (WEIGHTS * POSTERIOR_VARIANCE / SCALE**2) + shift
    variance = POSTERIOR_VARIANCE * stretch
    kl = 0.5 * (variance + mean**2 - 1 - np.log(variance))
    spread = ((x - mean @ WEIGHTS.T - BIAS) ** 2).sum(axis=1) + (variance * (WEIGHTS**2).sum(axis=0)).sum()
    constant = DIMENSIONS * (0.5 * np.log(2 * np.pi * SCALE**2) + np.log(SPEC.levels))
    np.testing.assert_allclose(values.posterior_mean, mean, atol=1e-4)
    np.testing.assert_allclose(values.kl_by_unit, kl, atol=1e-4)
    np.testing.assert_allclose(values.kl, kl.sum(axis=1), atol=1e-4)
    np.testing.assert_allclose(values.reconstruction, -0.5 * spread / SCALE**2 - constant, atol=0.1)
    np.testing.assert_allclose(values.elbo, values.reconstruction - values.kl, atol=1e-12)


@pytest.mark.parametrize("batch_size", [1, 7, 60, 1000])
def test_bounds_depend_neither_on_the_size_of_batches_nor_of_calls(examples, batch_size, monkeypatch):
    from elboflow.vae.evaluation import bounds as module

    model = linear_vae(shift=0.3, stretch=1.5)
    expected = bounds(model, examples, samples=50)
    monkeypatch.setattr(
        module, "OUTPUTS_PER_CALL", 8 * batch_size * DIMENSIONS
    )  # 7 calls of 8 samples, the last not full
    found = bounds(model, examples, samples=50, batch_size=batch_size)
    for name, values in vars(expected).items():
        np.testing.assert_allclose(getattr(found, name), values, atol=1e-4, err_msg=name)


def test_bounds_do_not_depend_on_the_order_of_the_examples(examples):
    model = linear_vae(shift=0.3)
    order = np.random.default_rng(2).permutation(len(examples))
    expected, found = bounds(model, examples, samples=20), bounds(model, examples[order], samples=20)
    np.testing.assert_array_equal(found.keys, expected.keys[order])
    np.testing.assert_allclose(found.log_likelihood, expected.log_likelihood[order], atol=1e-4)


def test_a_bound_that_is_not_finite_is_an_error_that_names_the_example(examples):
    model = linear_vae()
    model.decoder.set_weights([np.full_like(WEIGHTS.T, np.nan), BIAS])
    with pytest.raises(WorkError, match=f"not finite for 60 of 60 test examples, first for key {examples.keys[0]}"):
        bounds(model, examples, samples=2)


def test_examples_of_another_shape_are_an_error(examples):
    other = images(examples.features["image"][:, :2], examples.keys)
    with pytest.raises(WorkError, match=r"\[2, 4, 1\].*\[3, 4, 1\]"):
        bounds(linear_vae(), other, samples=2)


class Shards:
    """Examples in shards, some of which are empty."""

    def __init__(self, examples: Examples, counts: list[int]) -> None:
        ends = np.cumsum(counts)
        self.counts = counts
        self._parts = [examples[end - count : end] for count, end in zip(counts, ends, strict=True)]

    def read(self, shard: int) -> Examples:
        return self._parts[shard]


@pytest.mark.parametrize("counts", [[60], [1, 0, 31, 28], [0, 7] * 8 + [4, 0], [20, 20, 20]], ids=str)
@pytest.mark.parametrize("batch_size", [7, 32, 1000])
def test_bounds_over_several_shards_are_those_over_one(examples, counts, batch_size):
    from elboflow.vae.evaluation.bounds import bounds as bounds_of

    model = linear_vae(shift=0.3, stretch=1.5)
    expected = bounds(model, examples, samples=5)
    found = bounds_of(model, Shards(examples, counts), 5, SEED, batch_size)
    np.testing.assert_array_equal(found.keys, examples.keys)
    for name, values in vars(expected).items():
        np.testing.assert_allclose(getattr(found, name), values, atol=1e-4, err_msg=name)
