"""Densities are exact: they sum or integrate to one, and closed forms agree with quadrature."""

import numpy as np
import pytest
from scipy import integrate, stats

from elboflow.vae.distributions import DiagonalGaussian, StandardNormal
from elboflow.vae.likelihoods import Likelihood
from elboflow.vae.likelihoods.gaussian import Gaussian
from tests.elboflow.vae.given import image

pytestmark = [pytest.mark.xdist_group("tensorflow"), pytest.mark.usefixtures("tensorflow_backend")]

ONE_PIXEL = (1, 1, 1)


def pixel(kind, levels, **settings):
    """The likelihood of a single pixel."""
    return Likelihood.parse({"kind": kind, **settings}).of(image(ONE_PIXEL, levels))


def outputs_of(likelihood, count=5, seed=0):
    """Random decoder outputs for single pixels, `[samples, 1, 1, 1, parameters]`."""
    outputs = np.random.default_rng(seed).normal(0, 1, (count, 1, 1, 1, likelihood.parameters)).astype("float32")
    if likelihood.parameters == 2:
        outputs[..., 1] -= 1.5  # scales from wide to about one level
    return outputs


def log_probabilities(likelihood, outputs, levels):
    """log p of every code of one pixel, `[codes, samples]`."""
    codes = np.arange(levels, dtype=np.uint8).reshape(-1, *ONE_PIXEL)
    x = np.array(likelihood.prepare({"image": codes}, np.full(codes.shape, 0.5, "float32")))
    return np.stack([np.array(likelihood.log_prob(one[None], outputs))[:, 0] for one in x])


@pytest.mark.parametrize("levels", [2, 17, 256])
@pytest.mark.parametrize("kind", ["categorical", "discretized_logistic"])
def test_a_discrete_likelihood_sums_to_one_over_the_levels(kind, levels):
    likelihood = pixel(kind, levels)
    total = np.exp(log_probabilities(likelihood, outputs_of(likelihood), levels)).sum(axis=0)
    np.testing.assert_allclose(total, 1.0, atol=2e-5)


def test_bernoulli_sums_to_one_over_its_two_values():
    likelihood = pixel("bernoulli", 2, binarize="none")
    total = np.exp(log_probabilities(likelihood, outputs_of(likelihood), 2)).sum(axis=0)
    np.testing.assert_allclose(total, 1.0, atol=1e-6)


@pytest.mark.parametrize("scale", ["learned", 0.3])
def test_gaussian_integrates_to_one_over_dequantised_codes(scale):
    levels = 17
    likelihood = pixel("gaussian", levels, scale=scale)
    outputs = outputs_of(likelihood)
    codes = np.linspace(-40 * levels, 40 * levels, 400_001, dtype="float32")
    x = (codes / levels).reshape(-1, 1, 1, 1)
    density = np.exp(np.array(likelihood.log_prob(x, outputs)))
    np.testing.assert_allclose(integrate.trapezoid(density, codes, axis=1), 1.0, atol=1e-3)


def test_discretized_logistic_is_the_logistic_distribution_integrated_over_each_level():
    levels, location, log_scale = 17, 0.4, -2.0
    outputs = np.array([location, log_scale], "float32").reshape(1, 1, 1, 1, 2)
    found = np.exp(log_probabilities(pixel("discretized_logistic", levels), outputs, levels))[:, 0]
    edges = (np.arange(1, levels) - 0.5) / (levels - 1)
    cumulative = np.concatenate([[0], stats.logistic.cdf(edges, location, np.exp(log_scale)), [1]])
    np.testing.assert_allclose(found, np.diff(cumulative), rtol=1e-4)


def test_discretized_logistic_stays_finite_far_out_in_its_tails():
    likelihood = pixel("discretized_logistic", 256)
    outputs = np.array([[-50.0, -6.9], [50.0, -6.9]], "float32").reshape(2, 1, 1, 1, 2)
    assert np.isfinite(log_probabilities(likelihood, outputs, 256)).all()


def test_the_kl_of_a_diagonal_gaussian_agrees_with_quadrature():
    means, log_variances = np.array([[0.0, 1.3, -2.0]], "float32"), np.array([[0.0, -3.0, 0.8]], "float32")
    found = np.array(DiagonalGaussian(means, log_variances).kl(StandardNormal()))
    for mean, log_variance, kl in zip(means[0], log_variances[0], found[0], strict=True):
        posterior = stats.norm(mean, np.exp(log_variance / 2))
        z = np.linspace(*posterior.interval(1 - 1e-12), 20_001)
        integrand = posterior.pdf(z) * (posterior.logpdf(z) - stats.norm.logpdf(z))
        assert kl == pytest.approx(integrate.simpson(integrand, x=z), abs=1e-5)


def test_log_densities_of_prior_and_posterior_are_those_of_the_normal_distribution():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(4, 3, 2)).astype("float32")
    mean, log_variance = rng.normal(size=(2, 3, 2)).astype("float32")
    posterior = stats.norm(mean, np.exp(log_variance / 2)).logpdf(z).sum(axis=-1)
    np.testing.assert_allclose(DiagonalGaussian(mean, log_variance).log_prob(z), posterior, rtol=1e-4)
    np.testing.assert_allclose(StandardNormal().log_prob(z), stats.norm.logpdf(z).sum(axis=-1), rtol=1e-4)


def test_dynamic_binarisation_makes_a_pixel_one_as_often_as_its_intensity_says():
    codes = np.repeat(np.array([0, 4, 16], np.uint8), 20_000).reshape(3, -1, 1, 1).transpose(1, 2, 3, 0)
    uniform = np.random.default_rng(0).random(codes.shape, dtype=np.float32)
    likelihood = Likelihood.parse("bernoulli").of(image((1, 1, 3), 17))
    x = np.array(likelihood.prepare({"image": codes}, uniform))
    np.testing.assert_allclose(x.mean(axis=(0, 1, 2)), [0, 0.25, 1], atol=0.01)
    assert set(np.unique(x)) == {0.0, 1.0}


def test_a_likelihood_is_summed_over_pixels_and_channels():
    shape = (3, 2, 3)
    likelihood = Gaussian(scale=0.5).of(image(shape, 256))
    codes = np.full((2, *shape), 7, np.uint8)
    x = likelihood.prepare({"image": codes}, np.full(codes.shape, 0.5, "float32"))
    outputs = np.zeros((1, 2, *shape), "float32")
    by_hand = stats.norm(0, 0.5 * 256).logpdf(7.5) * np.prod(shape)
    np.testing.assert_allclose(likelihood.log_prob(x, outputs), [[by_hand, by_hand]], rtol=1e-5)
