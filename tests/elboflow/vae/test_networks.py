"""Networks: how their weights begin, what dropout drops, and in which precision they compute."""

import itertools
import math
from typing import Literal

import numpy as np
import pytest

from elboflow.settings import RequestError
from elboflow.vae import keras_file
from elboflow.vae.families.flat import Flat
from elboflow.vae.likelihoods import Likelihood
from elboflow.vae.likelihoods.bernoulli import Bernoulli
from elboflow.vae.likelihoods.categorical import Categorical
from elboflow.vae.networks import Network
from elboflow.vae.networks.convolutional import Convolutional
from elboflow.vae.networks.mlp import MLP
from tests.elboflow.vae.given import image, images, read, weights

pytestmark = [pytest.mark.xdist_group("tensorflow"), pytest.mark.usefixtures("tensorflow_backend")]

SHAPE = (6, 5, 2)
SPECS = image(SHAPE, 9)
INITIALIZERS = ["glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "lecun_uniform", "lecun_normal"]


def vae(network="mlp", likelihood="bernoulli", specs=SPECS, seed=0, output_bias="zeros", **settings):
    if isinstance(network, str):
        network = {"mlp": MLP, "convolutional": Convolutional}[network](**settings)
    config = Flat(latent=3, encoder=network, decoder=network, likelihood=likelihood, output_bias=output_bias)
    return config.build(specs, seed)


def decoded(model):
    """The expected image of z = 0."""
    return np.array(model.decode((np.zeros((1, 3), "float32"),), {}, {})["image"])[0]


@pytest.mark.parametrize("name", INITIALIZERS)
def test_kernels_have_the_spread_of_their_initializer(name):
    kernel = weights(vae(MLP(hidden=[300], initializer=name), specs=image((20, 20, 1), 2)))[0]
    inputs, outputs = kernel.shape
    variance = {"glorot": 2 / (inputs + outputs), "he": 2 / inputs, "lecun": 1 / inputs}[name.partition("_")[0]]
    assert kernel.var() == pytest.approx(variance, rel=0.05)


def test_orthogonal_kernels_are_orthogonal():
    kernel = weights(vae(MLP(hidden=[30], initializer="orthogonal"), specs=image((20, 20, 1), 2)))[0]
    np.testing.assert_allclose(kernel.T @ kernel, np.eye(30), atol=1e-5)


@pytest.mark.parametrize("network", ["mlp", "convolutional"])
def test_the_seed_decides_the_initial_weights_of_every_initializer(network):
    for name in [*INITIALIZERS, "orthogonal"]:
        first, same, other = (weights(vae(network, seed=seed, initializer=name)) for seed in (1, 1, 2))
        assert all((a == b).all() for a, b in zip(first, same, strict=True))
        assert any((a != b).any() for a, b in zip(first, other, strict=True))
        kernels = [kernel for kernel in first if kernel.ndim > 1]
        assert all((a != b).any() for a, b in itertools.combinations(kernels, 2) if a.shape == b.shape)


@pytest.fixture(scope="module")
def codes():
    """Images whose pixels have different means; the first pixel of the first channel is always at its lowest level."""
    intensity = np.linspace(0.1, 0.8, 60).reshape(6, 5, 2)
    made = np.random.default_rng(0).binomial(8, intensity, (500, 6, 5, 2)).astype(np.uint8)
    made[:, 0, 0, 0] = 0
    return made


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian", "categorical", "discretized_logistic"])
@pytest.mark.parametrize("network", ["mlp", "convolutional"])
def test_an_output_bias_of_the_training_mean_makes_the_decoder_of_zero_that_mean(network, likelihood, codes):
    model = vae(network, likelihood, output_bias="mean")
    model.start(images(codes))
    mean = codes.mean(axis=0) / 8
    if network == "convolutional":  # one bias for each channel
        mean = np.broadcast_to(mean.mean(axis=(0, 1)), mean.shape)
    np.testing.assert_allclose(decoded(model), mean, atol=2e-3)


def test_a_categorical_starts_at_the_frequency_of_each_level(codes):
    model = vae("mlp", Categorical(), output_bias="mean")
    model.start(images(codes))
    outputs = np.array(model.decoder(np.zeros((1, 3), "float32"))).reshape(6, 5, 2, 9)
    frequencies = np.exp(outputs) / np.exp(outputs).sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(frequencies, (codes[..., None] == np.arange(9)).mean(axis=0), atol=2e-3)


def test_thresholded_images_start_at_the_mean_of_their_bits(codes):
    model = vae("mlp", {"kind": "bernoulli", "binarize": "threshold"}, output_bias="mean")
    model.start(images(codes))
    bits = np.array(model.likelihood.prepare({"image": codes}, None))
    np.testing.assert_allclose(decoded(model), bits.mean(axis=0).clip(0.001, 0.999), atol=1e-5)


class Unnamed(Network):
    """A network of one layer, which has no layer of the name that the outputs' should have."""

    kind: Literal["unnamed"] = "unnamed"
    is_plain: bool = False

    def encoder(self, site):
        return self.decoder(site)

    def decoder(self, site):
        import keras

        dense, shaped = keras.layers.Dense(math.prod(site.outputs)), keras.layers.Reshape(site.outputs)
        network = keras.Sequential([keras.Input(site.inputs), keras.layers.Flatten(), dense, shaped])
        if not self.is_plain:
            return network

        class Plain(keras.Layer):
            def __init__(self):
                super().__init__()
                self.inner, self.built = network, True

            def call(self, inputs):
                return self.inner(inputs)

        return Plain()


class Unbiased(MLP):
    """An MLP whose outputs have no bias."""

    kind: Literal["unbiased"] = "unbiased"

    def decoder(self, site):
        network = super().decoder(site)
        network.get_layer("output").bias = None
        return network


class Meanless(Bernoulli):
    """A likelihood that does not tell which outputs have a given mean."""

    kind: Literal["meanless"] = "meanless"

    def output_bias(self, codes):
        return Likelihood.bias(self, {})


@pytest.mark.parametrize(
    ("network", "likelihood", "told"),
    [
        (Unnamed(), Bernoulli(), "the decoder 'unnamed' has no layer 'output' with a bias"),
        (Unnamed(is_plain=True), Bernoulli(), "the decoder 'unnamed' has no layer 'output' with a bias"),
        (Unbiased(hidden=[4]), Bernoulli(), "the decoder 'unbiased' has no layer 'output' with a bias"),
        (MLP(hidden=[4]), Meanless(), "the likelihood 'meanless' has no outputs of a given mean"),
    ],
    ids=["another name", "a plain layer", "no bias", "a likelihood that knows none"],
)
def test_an_output_bias_that_network_or_likelihood_cannot_have_is_refused_by_its_key(network, likelihood, told, codes):
    model = vae(network, likelihood, output_bias="mean")
    with pytest.raises(
        RequestError, match=rf"^model\.output_bias: mean is not possible, because {told}.*; allowed: zeros"
    ):
        model.start(images(codes))


def test_without_a_mean_to_start_at_no_example_is_asked_for(codes):
    model = vae()
    assert model.examples_to_start == 0
    before = weights(model)
    model.start(images(codes))
    for one, other in zip(before, weights(model), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_mean_is_taken_of_the_first_shards_only_and_the_same_each_time(codes, monkeypatch):
    from elboflow.vae import batches
    from elboflow.vae.families import flat

    class Shards:
        counts = (100, 100, 300)

        def __init__(self):
            self.asked = []

        def read(self, shard):
            self.asked.append(shard)
            first = sum(self.counts[:shard])
            return images(codes[first : first + self.counts[shard]])

    monkeypatch.setattr(flat, "_START_EXAMPLES", 150)
    source, models = Shards(), [vae(output_bias="mean"), vae(output_bias="mean")]
    for model in models:
        assert model.examples_to_start == 150
        model.start(batches.first(source, SPECS, model.examples_to_start, "train"))
    assert source.asked == [0, 1] * 2
    np.testing.assert_array_equal(*(weights(model)[-1] for model in models))


def numbers_of(model, rows, samples, seed=1):
    """Uniform numbers for the dropout of encoder and decoder, by name."""
    from elboflow.vae.layers import dropout

    rng = np.random.default_rng(seed)
    shapes = {
        "encoder_dropout": (rows, dropout.units(model.encoder)),
        "decoder_dropout": (samples, rows, dropout.units(model.decoder)),
    }
    return {name: rng.random(shape, dtype="float32") for name, shape in shapes.items() if shape[-1]}


def log_likelihood(model, noise):
    """log p(x|z) of white images, `[samples, batch]`."""
    rows = noise["z"].shape[1]
    batch, uniform = {"image": np.full((rows, *SHAPE), 8, "uint8")}, np.full((rows, *SHAPE), 0.5, "float32")
    return np.array(model.terms(batch, {"x": uniform, **noise}).log_likelihood)


@pytest.mark.parametrize("network", ["mlp", "convolutional"])
def test_dropout_drops_units_of_hidden_layers_at_its_rate_and_keeps_their_mean(network):
    from elboflow.vae.layers import dropout

    model, rows = vae(network, dropout=0.25), 400
    layers = model.encoder.layers
    first = next(layer for layer in layers if isinstance(layer, dropout.Dropout))
    hidden = layers[layers.index(first) - 1]
    assert first.units == hidden.output.shape[-1]
    x = np.repeat(np.random.default_rng(0).random((1, *SHAPE), dtype="float32"), rows, axis=0)
    uniform = numbers_of(model, rows, 1)["encoder_dropout"]
    whole = np.array(hidden(layers[0](x) if network == "mlp" else x))
    seen, original = {}, first.call
    first.call = lambda values: (seen.update(values=np.array(found := original(values))), found)[1]
    with dropout.dropping(model.encoder, uniform):
        model.encoder(x)
    kept = (uniform[:, : first.units] >= 0.25).reshape(rows, *[1] * (whole.ndim - 2), first.units)
    np.testing.assert_allclose(seen["values"], whole * kept / 0.75, rtol=1e-5)
    assert kept.mean() == pytest.approx(0.75, abs=0.02)
    model.encoder(x)
    np.testing.assert_array_equal(seen["values"], whole)


@pytest.mark.parametrize("network", ["mlp", "convolutional"])
def test_what_is_dropped_is_a_function_of_the_numbers_and_evaluation_drops_nothing(network, tmp_path):
    model = vae(network, dropout=0.5)
    z = np.random.default_rng(0).standard_normal((3, 4, 3), dtype="float32")
    dropped = numbers_of(model, 4, 3)
    plain, once, again, other = (
        log_likelihood(model, {"z": z, **numbers})
        for numbers in ({}, dropped, dropped, numbers_of(model, 4, 3, seed=2))
    )
    np.testing.assert_array_equal(once, again)
    assert (once != plain).all()
    assert (once != other).all()
    (tmp_path / "model.keras").write_bytes(keras_file.write(model))
    np.testing.assert_array_equal(log_likelihood(read(tmp_path / "model.keras"), {"z": z}), plain)


def test_each_sample_and_each_example_drops_units_of_its_own():
    model = vae("mlp", dropout=0.5)
    z = np.zeros((3, 2, 3), "float32")  # nothing differs but what is dropped
    dropped = numbers_of(model, 2, 3)
    assert len(np.unique(log_likelihood(model, {"z": z, **dropped}))) == 6
    dropped["encoder_dropout"][1] = dropped["encoder_dropout"][0]
    # Example 1 drops in sample s what 0 does in s - 1.
    dropped["decoder_dropout"][:, 1] = np.roll(dropped["decoder_dropout"][:, 0], 1, axis=0)
    found = log_likelihood(model, {"z": z, **dropped})
    np.testing.assert_allclose(found[:, 1], np.roll(found[:, 0], 1), rtol=1e-6)


def test_training_draws_what_dropout_takes_and_evaluation_does_not():
    model = vae("mlp", dropout=0.5)
    shapes = {name: numbers.shape[-1] for name, numbers in numbers_of(model, 1, 1).items()}
    drawn = {draw.name: draw for draw in model.training_draws}
    assert {name: drawn[name].shape for name in shapes} == {name: (units,) for name, units in shapes.items()}
    assert {draw.name for draw in model.draws(1)} == drawn.keys() - shapes.keys()


@pytest.mark.parametrize(("encoder", "decoder"), [(0.0, 0.5), (0.5, 0.0)])
def test_dropout_of_one_network_leaves_the_other_alone(encoder, decoder):
    networks = {"encoder": MLP(hidden=[8], dropout=encoder), "decoder": MLP(hidden=[7], dropout=decoder)}
    model = Flat(latent=3, **networks).build(SPECS)
    dropped = numbers_of(model, 2, 1)
    assert {name: numbers.shape[-1] for name, numbers in dropped.items()} == (
        {"encoder_dropout": 8} if encoder else {"decoder_dropout": 7}
    )
    batch = {"image": np.full((2, *SHAPE), 8, "uint8")}
    noise = {"z": np.zeros((1, 2, 3), "float32"), "x": np.full((2, *SHAPE), 0.5, "float32")}
    plain, found = model.terms(batch, noise), model.terms(batch, {**noise, **dropped})
    assert bool((np.array(plain.kl) == np.array(found.kl)).all()) == (encoder == 0)
    assert (np.array(plain.log_likelihood) != np.array(found.log_likelihood)).all()
