"""Precision: hidden layers compute in it; weights, densities, KL and the optimizer's state are float32 always."""

import numpy as np
import pytest

from elboflow.vae import keras_file
from elboflow.vae.compute.contract import Job
from elboflow.vae.config import Constant, Cosine, TrainingConfig
from elboflow.vae.data import InMemory
from elboflow.vae.families.flat import Flat
from elboflow.vae.likelihoods.gaussian import Gaussian
from elboflow.vae.networks.convolutional import Convolutional
from elboflow.vae.networks.mlp import MLP
from tests.elboflow.vae.given import image, read, weights

pytestmark = [pytest.mark.xdist_group("tensorflow"), pytest.mark.usefixtures("tensorflow_backend")]

SMALL = Flat(latent=4, encoder=MLP(hidden=[24]), decoder=MLP(hidden=[24]), likelihood="gaussian", output_bias="zeros")


def dtype(value):
    from keras import backend

    return backend.standardize_dtype(value.dtype)


def policies(network):
    return [layer.dtype_policy.name for layer in network.layers]


@pytest.mark.parametrize("network", [MLP(hidden=[6, 5]), Convolutional(channels=[3], dense=4)], ids=lambda n: n.kind)
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_hidden_layers_compute_in_the_precision_and_all_else_is_float32(precision, network):
    config, specs = Flat(latent=2, encoder=network, decoder=network), image((4, 4, 1), 2)
    model, exact = config.build(specs, policy=f"mixed_{precision}"), config.build(specs)
    batch = {"image": np.ones((2, 4, 4, 1), "uint8")}
    noise = {"z": np.ones((3, 2, 2), "float32"), "x": np.full((2, 4, 4, 1), 0.5, "float32")}
    for half in (model.encoder, model.decoder):
        place = [layer.name for layer in half.layers].index("output")
        assert {layer.dtype_policy.name for layer in half.layers[:place] if layer.weights} == {f"mixed_{precision}"}
        assert set(policies(half)[place:]) == {"float32"}
        assert {dtype(weights) for weights in half.weights} == {"float32"}
    hidden = np.ones((2, 4, 4, 1), "float32")
    for layer in model.encoder.layers[: [layer.name for layer in model.encoder.layers].index("output")]:
        hidden = layer(hidden)
    assert dtype(hidden) == precision
    terms, (mean,) = model.terms(batch, noise), model.encode(batch, noise)
    posterior = terms.latents[0].posterior
    outputs = model.decode((mean,), {}, {})["image"], mean, posterior.mean, posterior.log_variance
    found = terms.log_likelihood, terms.log_prior, terms.log_posterior, terms.kl
    assert {dtype(value) for value in (*found, *outputs)} == {"float32"}
    same = exact.terms(batch, noise).log_likelihood
    assert (np.array(terms.log_likelihood) != np.array(same)).any()
    np.testing.assert_allclose(np.array(terms.log_likelihood), np.array(same), rtol=0.02)


@pytest.mark.slow
def test_an_overflow_in_float16_is_skipped_and_halves_the_scale_of_the_loss(digits, digits_specs):
    from tests.elboflow.vae.stepping import stepping

    sharp = SMALL.model_copy(update={"likelihood": Gaussian(scale=0.01)})
    training = TrainingConfig(precision="float16", learning_rate=Constant(initial=1e-3))
    steps = stepping(sharp, training, digits.head(8), digits_specs)
    model, optimizer, run = steps.model, steps.optimizer, steps.run
    assert {dtype(variable) for variable in optimizer.variables} - {"int32", "int64"} == {"float32"}
    before, scale = weights(model), float(optimizer.dynamic_scale)
    measures = run(0, 1)
    assert measures["skipped"] == [1.0]
    assert np.isfinite(measures["loss"]).all()
    assert float(optimizer.dynamic_scale) == scale / 2
    assert int(optimizer.iterations) == 0
    for old, new in zip(before, weights(model), strict=True):
        np.testing.assert_array_equal(old, new)
    measures = run(1, 31)
    skipped = 1 + int(measures["skipped"].sum())
    assert 1 < skipped < 32
    assert float(optimizer.dynamic_scale) == scale / 2**skipped
    assert int(optimizer.iterations) == 32 - skipped
    assert any((old != new).any() for old, new in zip(before, weights(model), strict=True))


def trained(precision, digits, specs, folder, seed=0):
    from elboflow.vae.training import train

    training = TrainingConfig(
        precision=precision, learning_rate=Cosine(initial=2e-3), epochs=8, batch_size=32, early_stopping=None
    )
    splits = InMemory(digits.head(1400)), InMemory(digits[1400:])
    return train(Job(*splits, specs, SMALL, training, seed, folder / f"{precision} {seed}", {}))


def bound(training):
    return training.curves.validation["elbo"][-1]


@pytest.mark.slow
def test_trainings_in_bfloat16_and_float32_agree_on_the_bound_within_half_a_percent(digits, digits_specs, tmp_path):
    single, half = (trained(precision, digits, digits_specs, tmp_path) for precision in ("float32", "bfloat16"))
    assert bound(single) > -170
    assert bound(half) == pytest.approx(bound(single), rel=0.005)
    (tmp_path / "half.keras").write_bytes(keras_file.write(half.model))
    served = read(tmp_path / "half.keras")
    assert set(policies(served.encoder) + policies(served.decoder)) == {"float32"}


@pytest.mark.slow
def test_trainings_in_float16_and_float32_agree_on_the_bound_within_half_a_percent(digits, digits_specs, tmp_path):
    """On the mean of four seeds: one that skips steps is another training, and seeds lie 3 % apart."""
    single, half = (
        [trained(precision, digits, digits_specs, tmp_path, seed) for seed in range(4)]
        for precision in ("float32", "float16")
    )
    assert np.mean([*map(bound, half)]) == pytest.approx(np.mean([*map(bound, single)]), rel=0.005)
    for training in half:
        skipped = training.curves.train["skipped_steps"]
        assert sum(skipped) > 0  # the first scale is too large for this likelihood
        assert skipped[-1] == 0
