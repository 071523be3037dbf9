"""Networks: how their weights begin, what dropout drops, and in which precision they compute."""

import itertools

import numpy as np
import pytest

from elboflow.vae.config import MLP, Categorical, Convolutional, ModelConfig
from elboflow.vae.data import Examples, ImageSpec, InMemory

pytestmark = [pytest.mark.xdist_group("tensorflow"), pytest.mark.usefixtures("tensorflow_backend")]

SPEC = ImageSpec((6, 5, 2), 9)
INITIALIZERS = ["glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "lecun_uniform", "lecun_normal"]


def vae(network="mlp", likelihood="bernoulli", spec=SPEC, seed=0, **settings):
    from elboflow.vae.model import VAE

    if isinstance(network, str):
        network = {"mlp": MLP, "convolutional": Convolutional}[network](**settings)
    return VAE(ModelConfig(latent=3, encoder=network, decoder=network, likelihood=likelihood), spec, seed)


@pytest.mark.parametrize("name", INITIALIZERS)
def test_kernels_have_the_spread_of_their_initializer(name):
    kernel = vae(MLP(hidden=[300], initializer=name), spec=ImageSpec((20, 20, 1), 2)).get_weights()[0]
    inputs, outputs = kernel.shape
    variance = {"glorot": 2 / (inputs + outputs), "he": 2 / inputs, "lecun": 1 / inputs}[name.partition("_")[0]]
    assert kernel.var() == pytest.approx(variance, rel=0.05)


def test_orthogonal_kernels_are_orthogonal():
    kernel = vae(MLP(hidden=[30], initializer="orthogonal"), spec=ImageSpec((20, 20, 1), 2)).get_weights()[0]
    np.testing.assert_allclose(kernel.T @ kernel, np.eye(30), atol=1e-5)


@pytest.mark.parametrize("network", ["mlp", "convolutional"])
def test_the_seed_decides_the_initial_weights_of_every_initializer(network):
    for name in [*INITIALIZERS, "orthogonal"]:
        first, same, other = (vae(network, seed=seed, initializer=name).get_weights() for seed in (1, 1, 2))
        assert all((a == b).all() for a, b in zip(first, same, strict=True))
        assert any((a != b).any() for a, b in zip(first, other, strict=True))
        kernels = [kernel for kernel in first if kernel.ndim > 1]
        assert all((a != b).any() for a, b in itertools.combinations(kernels, 2) if a.shape == b.shape)


@pytest.fixture(scope="module")
def codes():
    """Images whose pixels have different means; the first pixel of the first channel is always at its lowest level."""
    intensity = np.linspace(0.1, 0.8, 60).reshape(6, 5, 2)
    images = np.random.default_rng(0).binomial(8, intensity, (500, 6, 5, 2)).astype(np.uint8)
    images[:, 0, 0, 0] = 0
    return images


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian", "categorical", "discretized_logistic"])
@pytest.mark.parametrize("network", ["mlp", "convolutional"])
def test_an_output_bias_of_the_training_mean_makes_the_decoder_of_zero_that_mean(network, likelihood, codes):
    from elboflow.vae.training.start import start_at_mean

    model = vae(network, likelihood)
    start_at_mean(model, InMemory(Examples(codes, np.arange(len(codes)))))
    decoded = np.array(model.likelihood.mean(model.decode(np.zeros((1, 3), "float32"))))[0]
    mean = codes.mean(axis=0) / 8
    if network == "convolutional":  # one bias for each channel
        mean = np.broadcast_to(mean.mean(axis=(0, 1)), mean.shape)
    np.testing.assert_allclose(decoded, mean, atol=2e-3)


def test_a_categorical_starts_at_the_frequency_of_each_level(codes):
    model = vae("mlp", Categorical())
    model.start_at(codes)
    outputs = np.array(model.decode(np.zeros((1, 3), "float32"))).reshape(6, 5, 2, 9)
    frequencies = np.exp(outputs) / np.exp(outputs).sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(frequencies, (codes[..., None] == np.arange(9)).mean(axis=0), atol=2e-3)


def test_thresholded_images_start_at_the_mean_of_their_bits(codes):
    model = vae("mlp", {"kind": "bernoulli", "binarize": "threshold"})
    model.start_at(codes)
    decoded = np.array(model.likelihood.mean(model.decode(np.zeros((1, 3), "float32"))))[0]
    bits = np.array(model.prepare(codes, None))
    np.testing.assert_allclose(decoded, bits.mean(axis=0).clip(0.001, 0.999), atol=1e-5)


def test_the_mean_is_taken_of_the_first_shards_only_and_the_same_each_time(codes, monkeypatch):
    from elboflow.vae.training import start

    class Shards:
        counts = (100, 100, 300)

        def __init__(self):
            self.asked = []

        def read(self, shard):
            self.asked.append(shard)
            first = sum(self.counts[:shard])
            return Examples(codes[first : first + self.counts[shard]], np.arange(self.counts[shard]))

    monkeypatch.setattr(start, "EXAMPLES", 150)
    source, models = Shards(), [vae(), vae()]
    for model in models:
        start.start_at_mean(model, source)
    assert source.asked == [0, 1] * 2
    np.testing.assert_array_equal(*(model.get_weights()[-1] for model in models))


@pytest.mark.parametrize("network", ["mlp", "convolutional"])
def test_dropout_drops_units_of_hidden_layers_at_its_rate_and_keeps_their_mean(network):
    from elboflow.vae.networks import dropout, layers

    model = vae(network, dropout=0.25)
    units = dropout.units(model.encoder)
    rows = 400
    x = np.repeat(np.random.default_rng(0).random((1, *SPEC.shape), dtype="float32"), rows, axis=0)
    uniform = np.random.default_rng(1).random((rows, units), dtype="float32")

    first, *_ = layers.hidden(model.encoder)
    width = first.output.shape[-1]
    whole = model.encoder.layers[0](x) if network == "mlp" else x
    whole = np.array(first(whole))
    seen = {}
    following = model.encoder.layers[model.encoder.layers.index(first) + 1]
    original = following.call
    following.call = lambda values, *args, **kwargs: (seen.update(values=np.array(values)), original(values))[1]
    dropout.call(model.encoder, x, 0.25, uniform)
    kept = (uniform[:, :width] >= 0.25).reshape(rows, *[1] * (whole.ndim - 2), width)
    np.testing.assert_allclose(seen["values"], whole * kept / 0.75, rtol=1e-5)
    assert kept.mean() == pytest.approx(0.75, abs=0.02)


@pytest.mark.parametrize("network", ["mlp", "convolutional"])
def test_what_is_dropped_is_a_function_of_the_numbers_and_evaluation_drops_nothing(network, tmp_path):
    from elboflow.vae.model import load

    model = vae(network, dropout=0.5)
    rng = np.random.default_rng(0)
    x = rng.random((4, *SPEC.shape), dtype="float32").round()
    noise = rng.standard_normal((3, 4, 3), dtype="float32")
    encoder, decoder = model.dropout_units
    dropped = rng.random((4, encoder + 3 * decoder), dtype="float32")
    plain, once, again, other = (
        np.array(model.terms(x, noise, numbers).log_likelihood)
        for numbers in (None, dropped, dropped, rng.permuted(dropped))
    )
    np.testing.assert_array_equal(once, again)
    assert (once != plain).all()
    assert (once != other).all()
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(np.array(load(tmp_path / "model.keras").terms(x, noise).log_likelihood), plain)


def test_each_sample_and_each_example_drops_units_of_its_own():
    model = vae("mlp", dropout=0.5)
    x = np.ones((2, *SPEC.shape), "float32")
    noise = np.zeros((3, 2, 3), "float32")  # nothing differs but what is dropped
    encoder, decoder = model.dropout_units
    dropped = np.random.default_rng(0).random((2, encoder + 3 * decoder), dtype="float32")
    assert len(np.unique(np.array(model.terms(x, noise, dropped).log_likelihood))) == 6
    dropped[1, :encoder] = dropped[0, :encoder]
    dropped[1, encoder:] = np.roll(dropped[0, encoder:], decoder)  # example 1 drops in sample s what 0 does in s - 1
    found = np.array(model.terms(x, noise, dropped).log_likelihood)
    np.testing.assert_allclose(found[:, 1], np.roll(found[:, 0], 1), rtol=1e-6)


@pytest.mark.parametrize(("encoder", "decoder"), [(0.0, 0.5), (0.5, 0.0)])
def test_dropout_of_one_network_leaves_the_other_alone(encoder, decoder):
    from elboflow.vae.model import VAE

    config = ModelConfig(latent=3, encoder=MLP(hidden=[8], dropout=encoder), decoder=MLP(hidden=[7], dropout=decoder))
    model = VAE(config, SPEC)
    assert model.dropout_units == (8 if encoder else 0, 7 if decoder else 0)
    dropped = np.random.default_rng(0).random((2, sum(model.dropout_units)), dtype="float32")
    x, noise = np.ones((2, *SPEC.shape), "float32"), np.zeros((1, 2, 3), "float32")
    plain, found = model.terms(x, noise), model.terms(x, noise, dropped)
    assert bool((np.array(plain.kl) == np.array(found.kl)).all()) == (encoder == 0)
    assert (np.array(plain.log_likelihood) != np.array(found.log_likelihood)).all()
