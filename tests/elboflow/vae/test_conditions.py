"""Conditional models: encoder, decoder and prior see what is given, and a model without a condition is what it was."""

import numpy as np
import pytest

from elboflow.artifacts.spec import FeatureSpec
from elboflow.settings import RequestError
from elboflow.vae.data import Examples, InMemory
from elboflow.vae.families.flat import Flat
from tests.elboflow.vae.given import image

pytestmark = [pytest.mark.xdist_group("tensorflow"), pytest.mark.usefixtures("tensorflow_backend")]

SPECS = {
    **image((8, 8, 1), 17),
    "label": FeatureSpec(kind="category", dtype="int64", levels=10),
    "price": FeatureSpec(kind="number", dtype="float32", facts={"mean": 3.0, "std": 2.0}),
}
CONVOLUTIONAL = {"kind": "convolutional", "channels": [4, 8], "dense": 16}
MLP = {"kind": "mlp", "hidden": [16]}


def vae(network=MLP, condition="label", **settings):
    config = Flat.model_validate(
        {"latent": 3, "encoder": network, "decoder": network, "condition": condition, **settings}
    )
    return config.build({name: SPECS[name] for name in config.reads}, seed=5)


def batch_of(digits, given):
    return {"image": digits.features["image"][:4], **given}


def noise():
    rng = np.random.default_rng(0)
    return {
        "x": rng.random((4, 8, 8, 1), dtype=np.float32),
        "z": rng.standard_normal((2, 4, 3), dtype=np.float32),
    }


GIVEN = {
    "label": [{"label": np.full(4, label)} for label in (3, 8)],
    "price": [{"price": np.full(4, price, "float32")} for price in (-1.5, 6.0)],
}


@pytest.mark.parametrize("condition", GIVEN)
@pytest.mark.parametrize("network", [MLP, CONVOLUTIONAL], ids=["mlp", "convolutional"])
def test_encoder_and_decoder_depend_on_the_condition(digits, network, condition):
    model = vae(network, condition)
    batches = [batch_of(digits, given) for given in GIVEN[condition]]
    one, other = (np.array(model.encode(batch, noise())[0]) for batch in batches)
    assert (one != other).all()
    z = np.zeros((4, 3), "float32")
    one, other = (np.array(model.decode((z,), batch, {})["image"]) for batch in batches)
    assert np.abs(one - other).max() > 1e-3
    one, other = (np.array(model.terms(batch, noise()).log_likelihood) for batch in batches)
    assert (one != other).all()


def test_a_conditional_prior_starts_at_the_standard_normal_and_then_depends_on_the_condition(digits):
    model, plain = vae(prior="conditional"), vae()
    one, other = (batch_of(digits, given) for given in GIVEN["label"])
    begun, standard = model.terms(one, noise()), plain.terms(one, noise())
    np.testing.assert_allclose(np.array(begun.log_prior), np.array(standard.log_prior), rtol=1e-6)
    np.testing.assert_allclose(np.array(begun.kl), np.array(standard.kl), rtol=1e-5, atol=1e-6)
    kernel = model.parts["prior"].kernel
    kernel.assign(np.random.default_rng(1).normal(0, 0.5, kernel.shape))
    means = [np.array(model.terms(batch, noise()).latents[0].prior.mean) for batch in (one, other)]
    assert (means[0] != means[1]).all()
    np.testing.assert_allclose(means[0], np.array(kernel)[3, :3] * np.ones((4, 1)), rtol=1e-6)
    drawn = {"z": np.zeros((4, 3), "float32")}
    np.testing.assert_allclose(np.array(model.from_prior(drawn, one)[0]), means[0], rtol=1e-6)


def test_the_analytic_kl_to_a_conditional_prior_is_the_mean_of_the_sampled_one(digits):
    model = vae(prior="conditional")
    kernel = model.parts["prior"].kernel
    kernel.assign(np.random.default_rng(1).normal(0, 0.5, kernel.shape))
    samples = {**noise(), "z": np.random.default_rng(2).standard_normal((20_000, 4, 3), dtype=np.float32)}
    terms = model.terms(batch_of(digits, GIVEN["label"][0]), samples)
    sampled = np.mean(np.array(terms.log_posterior) - np.array(terms.log_prior), axis=0)
    np.testing.assert_allclose(np.array(terms.kl)[0], sampled, atol=0.05)


def test_generated_examples_are_those_of_the_condition_that_is_given():
    from elboflow.vae.evaluation import samples

    model = vae()
    labels = np.arange(70) % 10
    made = samples.generate(model, 70, seed=0, given={"label": labels})["image"]
    again = samples.generate(model, 70, seed=0, given={"label": np.full(70, 3)})["image"]
    same = labels == 3
    np.testing.assert_allclose(made[same], again[same], atol=1e-6)
    assert (np.abs(made[~same] - again[~same]).reshape(sum(~same), -1).max(axis=1) > 1e-4).all()


def test_bounds_and_reconstructions_use_the_condition_of_each_example(digits):
    from elboflow.vae.evaluation import samples
    from elboflow.vae.evaluation.bounds import bounds

    model, some = vae(prior="conditional"), digits.head(20)
    other = Examples({**some.features, "label": (some.features["label"] + 1) % 10}, some.keys)
    one, two = (bounds(model, InMemory(examples), 3, 0, 8) for examples in (some, other))
    assert (one.elbo != two.elbo).all()
    assert (samples.reconstruct(model, some, 0)["image"] != samples.reconstruct(model, other, 0)["image"]).any()


WITHOUT = {
    # Bounds of the first four digits as the program gave them before it knew conditions.
    "bernoulli": (
        MLP,
        [-44.3295, -44.2243, -43.7299, -43.663],
        [0.4226, 0.38389, 0.36598, 0.36376],
    ),
    "discretized_logistic": (
        MLP,
        [-168.0489, -117.8714, -145.07, -161.9832],
        [0.37496, 0.25553, 0.35227, 0.26613],
    ),
    "categorical": (
        MLP,
        [-181.5718, -181.7323, -181.6201, -181.1442],
        [0.37496, 0.25553, 0.35227, 0.26613],
    ),
    "gaussian": (
        CONVOLUTIONAL,
        [-246.4625, -248.9041, -249.5145, -247.4785],
        [0.0046, 0.00415, 0.00454, 0.00167],
    ),
}


@pytest.mark.parametrize("likelihood", WITHOUT)
def test_without_a_condition_the_numbers_are_what_they_were(digits, likelihood):
    network, log_likelihood, kl = WITHOUT[likelihood]
    terms = vae(network, None, likelihood=likelihood).terms(batch_of(digits, {}), noise())
    np.testing.assert_allclose(np.array(terms.log_likelihood).mean(axis=0), log_likelihood, rtol=1e-4)
    np.testing.assert_allclose(np.array(terms.kl)[0], kl, atol=2e-5)


def test_examples_of_a_conditional_model_need_what_it_is_conditioned_on():
    from elboflow.vae.evaluation import samples

    with pytest.raises(RequestError, match="conditioned on label, which is not given"):
        samples.generate(vae(MLP, "label"), 2, seed=0)
