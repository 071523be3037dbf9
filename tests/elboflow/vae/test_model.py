"""The model: its terms, its shapes, and that a saved one is the one that was saved."""

import numpy as np
import pytest

from elboflow.vae import keras_file
from elboflow.vae.families.flat import Flat
from elboflow.vae.likelihoods.bernoulli import Bernoulli
from elboflow.vae.networks.convolutional import Convolutional
from elboflow.vae.objectives.beta import Beta
from elboflow.vae.objectives.elbo import ELBO
from tests.elboflow.vae.given import image, read, weights

pytestmark = [pytest.mark.xdist_group("tensorflow"), pytest.mark.usefixtures("tensorflow_backend")]

LIKELIHOODS = ["bernoulli", "gaussian", "categorical", "discretized_logistic"]


def terms_of(model, samples=3, batch=4, seed=0):
    rng = np.random.default_rng(seed)
    spec = model.specs["image"]
    codes = rng.integers(0, spec.levels, (batch, *spec.shape), dtype=np.uint8)
    uniform = rng.random(codes.shape, dtype=np.float32)
    return model.terms(
        {"image": codes}, {"x": uniform, "z": rng.standard_normal((samples, batch, model.latent), dtype=np.float32)}
    )


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("network", ["mlp", "convolutional"])
@pytest.mark.parametrize("shape", [(8, 8, 1), (7, 10, 3)])
def test_every_network_gives_the_terms_of_every_likelihood_on_any_shape(network, likelihood, shape):
    config = Flat(encoder=network, decoder=network, likelihood=likelihood, latent=5)
    terms = terms_of(config.build(image(shape, 6)))
    assert terms.log_likelihood.shape == terms.log_prior.shape == terms.log_posterior.shape == (3, 4)
    assert terms.kl.shape == (1, 4)
    found = terms.log_likelihood, terms.log_prior, terms.log_posterior, terms.kl, *terms.measures.values()
    assert all(np.isfinite(np.array(term)).all() for term in found)


def test_the_analytic_kl_is_the_mean_of_the_sampled_one(digits_specs):
    terms = terms_of(Flat(latent=4).build(digits_specs, seed=3), samples=20_000)
    sampled = np.mean(np.array(terms.log_posterior) - np.array(terms.log_prior), axis=0)
    np.testing.assert_allclose(sampled, np.array(terms.kl)[0], atol=0.05)


def test_a_saved_model_gives_the_same_terms_when_loaded(tmp_path, digits_specs):
    config = Flat(
        encoder=Convolutional(channels=[4, 8]), decoder="convolutional", likelihood=Bernoulli(binarize="threshold")
    )
    model = config.build(digits_specs, seed=1)
    (tmp_path / "model.keras").write_bytes(keras_file.write(model))
    loaded = read(tmp_path / "model.keras")
    assert loaded.config == config
    assert loaded.specs == digits_specs
    np.testing.assert_array_equal(np.array(terms_of(loaded).log_likelihood), np.array(terms_of(model).log_likelihood))


def test_the_seed_alone_decides_the_initial_weights(digits_specs):
    first, same, other = (weights(Flat().build(digits_specs, seed)) for seed in (1, 1, 2))
    assert all((a == b).all() for a, b in zip(first, same, strict=True))
    assert any((a != b).any() for a, b in zip(first, other, strict=True))


def test_the_loss_of_an_example_is_minus_its_bound_and_beta_weights_its_kl(digits_specs):
    terms = terms_of(Flat().build(digits_specs))
    reconstruction, kl = np.array(terms.log_likelihood).mean(axis=0), np.array(terms.kl)[0]
    elbo, beta = (np.array(objective(terms, 0).total) for objective in (ELBO(), Beta(beta=4.0)))
    np.testing.assert_allclose(elbo, kl - reconstruction, rtol=1e-5)
    np.testing.assert_allclose(beta, 4 * kl - reconstruction, rtol=1e-5)


def test_the_kl_weight_grows_linearly_to_beta():
    settings = Beta(beta=2.0, warmup_steps=10)
    weights = [float(settings.weight(step)) for step in (0, 5, 10, 100)]
    assert weights == pytest.approx([0.0, 1.0, 2.0, 2.0])
