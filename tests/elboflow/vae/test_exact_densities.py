"""Densities of sequences, classes, numbers and tables: they sum to one, and are those of the data's own units."""

import itertools

import numpy as np
import pytest
from scipy import stats

from elboflow.artifacts.spec import FeatureSpec
from elboflow.vae.families.flat import Flat
from elboflow.vae.likelihoods import Likelihood
from tests.elboflow.vae.given import image

pytestmark = [pytest.mark.xdist_group("tensorflow"), pytest.mark.usefixtures("tensorflow_backend")]

SYMBOLS, LONGEST = 3, 4
TEXT = {"text": FeatureSpec(kind="tokens", dtype="int64", shape=(LONGEST,), levels=SYMBOLS, ragged=True)}
LABEL = FeatureSpec(kind="category", dtype="int64", levels=9, facts={"classes": [1, 4, 8]})
PRICE = FeatureSpec(kind="number", dtype="float32", facts={"mean": -3.0, "std": 2.5})
PLACE = FeatureSpec(kind="number", dtype="float32", shape=(2,), facts={"mean": 100.0, "std": 0.02})


def likelihood(kind, specs, **settings):
    return Likelihood.parse({"kind": kind, **settings}).of(specs)


def every_sequence():
    """All sequences up to the longest, as a batch; what is beyond the end of one is no part of it."""
    sequences = [found for n in range(LONGEST + 1) for found in itertools.product(range(SYMBOLS), repeat=n)]
    padding = np.random.default_rng(0).integers(0, SYMBOLS, (len(sequences), LONGEST))
    for row, sequence in zip(padding, sequences, strict=True):
        row[: len(sequence)] = sequence
    return {"text": padding, "text.length": np.array([len(sequence) for sequence in sequences])}


@pytest.mark.parametrize("spread", [0.1, 3.0, 30.0])
def test_the_probabilities_of_all_sequences_sum_to_one_whatever_the_logits_make_of_the_prefix(spread):
    rng, known = np.random.default_rng(1), {}

    def logits(prefix):
        return known.setdefault(prefix, rng.normal(0, spread, SYMBOLS + 1).astype("float32"))

    batch = every_sequence()
    outputs = np.array([[logits(tuple(row[:position])) for position in range(LONGEST)] for row in batch["text"]])
    tokens = likelihood("tokens", TEXT)
    found = np.array(tokens.log_prob(tokens.prepare(batch, None), outputs[None]))
    assert found.shape == (1, sum(SYMBOLS**n for n in range(LONGEST + 1)))
    assert np.exp(found.astype(np.float64)).sum() == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("decoder", ["recurrent", "mlp"])
def test_the_probabilities_of_all_sequences_sum_to_one_given_any_z_of_a_real_decoder(decoder):
    config = Flat.model_validate(
        {"input": "text", "likelihood": "tokens", "encoder": "recurrent", "decoder": decoder, "latent": 2}
    )
    model = config.build(TEXT, seed=1)
    for weight in model.encoder.get_layer("output").weights:
        weight.assign(np.zeros(weight.shape))  # q(z|x) is the prior: all sequences have the same z
    output = model.decoder.get_layer("output")
    output.kernel.assign(4.0 * np.array(output.kernel))
    batch, z = every_sequence(), np.random.default_rng(2).normal(size=(5, 1, 2)).astype("float32")
    noise = {"z": np.repeat(z, len(batch["text"]), axis=1)}
    found = np.array(model.terms(batch, noise).log_likelihood).astype(np.float64)
    np.testing.assert_allclose(np.exp(found).sum(axis=1), 1.0, atol=1e-4)
    assert np.abs(found - found[:1]).max() > 0.1, "z makes a difference"


def test_what_stands_beyond_the_end_of_a_sequence_is_no_part_of_it():
    tokens, rng = likelihood("tokens", TEXT), np.random.default_rng(0)
    outputs = rng.normal(size=(1, 1, LONGEST, SYMBOLS + 1)).astype("float32")
    one, other = ({"text": np.array([[1, 0, *rest]]), "text.length": np.array([2])} for rest in ([0, 0], [2, 1]))
    found = [np.array(tokens.log_prob(tokens.prepare(batch, None), outputs)) for batch in (one, other)]
    np.testing.assert_array_equal(*found)
    by_hand = sum(
        outputs[0, 0, place, symbol] - np.log(np.exp(outputs[0, 0, place]).sum())
        for place, symbol in enumerate([1, 0, SYMBOLS])
    )
    assert found[0][0, 0] == pytest.approx(by_hand, abs=1e-5)


def test_the_most_probable_sequence_of_independent_positions_ends_where_the_end_is_likeliest():
    tokens = likelihood("tokens", TEXT)
    likeliest = np.array([[2, 1, SYMBOLS, 1], [0, 1, 2, 2], [SYMBOLS, 0, 0, 0]])
    outputs = 5.0 * (likeliest[..., None] == np.arange(SYMBOLS + 1)).astype("float32")
    found = {name: np.array(values) for name, values in tokens.mean(outputs).items()}
    np.testing.assert_array_equal(found["text"], [[2, 1, 0, 0], [0, 1, 2, 2], [0, 0, 0, 0]])
    np.testing.assert_array_equal(found["text.length"], [2, 4, 0])


def test_the_probabilities_of_the_classes_sum_to_one():
    category = likelihood("category", {"label": LABEL})
    assert category.outputs == (9,)
    outputs = np.random.default_rng(0).normal(0, 3, (7, 1, 9)).astype("float32")
    x = category.prepare({"label": np.arange(9)}, None)
    found = np.array(category.log_prob(x, outputs))
    np.testing.assert_allclose(np.exp(found).sum(axis=1), 1.0, atol=1e-6)
    likeliest = np.array(category.mean(outputs[:, 0])["label"])
    np.testing.assert_array_equal(likeliest, found.argmax(axis=1))


@pytest.mark.parametrize("spec", [PRICE, PLACE], ids=["a number", "two numbers"])
def test_a_density_of_numbers_is_that_of_scipy_in_the_datas_own_units(spec):
    mean, deviation = spec.facts["mean"], spec.facts["std"]
    normal, rng = likelihood("normal", {"value": spec}), np.random.default_rng(0)
    raw = (mean + deviation * rng.normal(size=(6, *spec.shape))).astype("float32")
    outputs = rng.normal(size=(2, 6, 2 * spec.size)).astype("float32")
    found = np.array(normal.log_prob(normal.prepare({"value": raw}, None), outputs))
    location, log_scale = outputs[..., : spec.size], outputs[..., spec.size :]
    theirs = stats.norm(mean + deviation * location, deviation * np.exp(log_scale))
    np.testing.assert_allclose(found, theirs.logpdf(raw.reshape(6, spec.size)).sum(axis=-1), atol=2e-3)
    decoded = np.array(normal.mean(outputs)["value"])
    np.testing.assert_allclose(decoded.reshape(2, 6, spec.size), theirs.mean(), rtol=1e-5)


def test_no_density_of_numbers_is_narrower_than_a_fiftieth_of_their_spread():
    normal = likelihood("normal", {"value": PRICE})
    x = normal.prepare({"value": np.array([-3.0], "float32")}, None)
    found = np.array(normal.log_prob(x, np.array([[[0.0, -50.0]]], "float32")))
    assert found[0, 0] == pytest.approx(stats.norm(0, 2.5 * np.exp(-4)).logpdf(0), abs=1e-4)


def test_a_number_that_was_always_the_same_has_a_density():
    constant = FeatureSpec(kind="number", dtype="float32", facts={"mean": 5.0, "std": 0.0})
    normal = likelihood("normal", {"value": constant})
    x = normal.prepare({"value": np.array([5.0], "float32")}, None)
    found = np.array(normal.log_prob(x, np.zeros((1, 1, 2), "float32")))
    assert found[0, 0] == pytest.approx(stats.norm.logpdf(0), abs=1e-5)


def test_the_density_of_a_table_is_the_product_of_those_of_its_columns():
    specs = {"price": PRICE, "label": LABEL, **image((2, 3, 1), 5), "place": PLACE}
    product, rng = likelihood("product", specs, columns={"image": "gaussian"}), np.random.default_rng(0)
    batch = {
        "price": rng.normal(-3, 2, 4).astype("float32"),
        "label": np.array([1, 4, 8, 4]),
        "image": rng.integers(0, 5, (4, 2, 3, 1)).astype("uint8"),
        "place": rng.normal(100, 0.02, (4, 2)).astype("float32"),
    }
    columns = {
        name: likelihood(kind, {name: specs[name]})
        for name, kind in [("price", "normal"), ("label", "category"), ("image", "gaussian"), ("place", "normal")]
    }
    sizes = [int(np.prod(column.outputs)) for column in columns.values()]
    assert product.outputs == (sum(sizes),)
    assert product.noise == (6,)
    outputs, uniform = rng.normal(size=(3, 4, sum(sizes))).astype("float32"), rng.random((4, 6), dtype="float32")
    x = product.prepare(batch, uniform)
    parts = dict(zip(columns, np.split(outputs, np.cumsum(sizes)[:-1], axis=-1), strict=True))
    expected = 0.0
    for name, column in columns.items():
        own = column.prepare(batch, uniform.reshape(4, 2, 3, 1) if name == "image" else None)
        expected += np.array(column.log_prob(own, parts[name].reshape(3, 4, *column.outputs)))
    np.testing.assert_allclose(np.array(product.log_prob(x, outputs)), expected, rtol=1e-5)
    assert np.array(product.seen(x)).shape == (4, *product.inputs) == (4, 1 + 9 + 6 + 2)
    assert np.array(product.mean(outputs[0])["image"]).shape == (4, 2, 3, 1)
    assert product.outcome_space.split("; ") == [
        "image: dequantised intensities, a density",
        "label: classes",
        "place: numbers, a density",
        "price: numbers, a density",
    ]


@pytest.mark.parametrize("kind", ["category", "normal", "tokens", "product"])
def test_a_decoder_starts_at_the_mean_of_the_training_examples(kind):
    rng = np.random.default_rng(0)
    values = {
        "category": {"label": rng.choice([1, 4, 8], 400, p=[0.7, 0.2, 0.1])},
        "normal": {"price": rng.normal(-1, 1, 400).astype("float32")},
        "tokens": {"text": rng.choice(SYMBOLS, (400, LONGEST), p=[0.5, 0.3, 0.2]), "text.length": np.full(400, 2)},
    }
    values["product"] = {**values["category"], **values["normal"]}
    specs = {
        "category": {"label": LABEL},
        "normal": {"price": PRICE},
        "tokens": TEXT,
        "product": {"label": LABEL, "price": PRICE},
    }[kind]
    found = likelihood(kind, specs)
    bias = np.asarray(found.bias(values[kind]))
    assert bias.shape == found.outputs
    logits = bias[..., : 4 if kind == "tokens" else 9]
    probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    if kind in ("category", "product"):
        counts = np.sum(values[kind]["label"][:, None] == np.arange(9), axis=0)
        np.testing.assert_allclose(probabilities, (counts + 1) / (400 + 9), rtol=1e-5)
    if kind == "tokens":  # two symbols and an end each
        expected = np.tile([2 * 0.5 / 3, 2 * 0.3 / 3, 2 * 0.2 / 3], (4, 1))
        np.testing.assert_allclose(probabilities[..., :3], expected, atol=0.05)
    if kind in ("normal", "product"):
        assert -3 + 2.5 * bias[-2] == pytest.approx(-1, abs=0.2)
