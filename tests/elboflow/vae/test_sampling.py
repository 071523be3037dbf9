"""Samples of p(x|z): of numbers, classes, texts and tables they have the distribution of the likelihood."""

import itertools

import numpy as np
import pytest
from scipy import stats

from elboflow.artifacts.spec import FeatureSpec
from elboflow.vae.likelihoods import Likelihood
from tests.elboflow.vae.given import image

pytestmark = [pytest.mark.xdist_group("tensorflow"), pytest.mark.usefixtures("tensorflow_backend")]

ROWS = 20_000
SYMBOLS, LONGEST = 2, 3
TEXT = FeatureSpec(kind="tokens", dtype="int64", shape=(LONGEST,), levels=SYMBOLS, ragged=True)
LABEL = FeatureSpec(kind="category", dtype="int64", levels=5)
PRICE = FeatureSpec(kind="number", dtype="float32", facts={"mean": -3.0, "std": 2.5})
PLACE = FeatureSpec(kind="number", dtype="float32", shape=(2,), facts={"mean": 100.0, "std": 0.02})
LARGEST = 1 - 2**-24


def likelihood(kind, specs, **settings):
    return Likelihood.parse({"kind": kind, **settings}).of(specs)


def sampled(bound, outputs, seed=0):
    """Samples for the same outputs in each row."""
    uniform = np.random.default_rng(seed).random((ROWS, *bound.sampling), "float32")
    made = bound.sample(np.broadcast_to(outputs.astype("float32"), (ROWS, *outputs.shape)), uniform)
    return {name: np.array(values) for name, values in made.items()}


@pytest.mark.parametrize("spec", [PRICE, PLACE], ids=["a number", "two numbers"])
def test_numbers_have_the_distribution_of_scipy_in_the_datas_own_units(spec):
    mean, deviation = spec.facts["mean"], spec.facts["std"]
    outputs = np.random.default_rng(1).normal(size=2 * spec.size)
    found = sampled(likelihood("normal", {"value": spec}), outputs)["value"]
    assert found.shape == (ROWS, *spec.shape)
    location, scale = outputs[: spec.size], np.exp(outputs[spec.size :])
    standardised = ((found.reshape(ROWS, -1).astype("float64") - mean) / deviation - location) / scale
    for column in standardised.T:
        assert stats.kstest(column, "norm").pvalue > 1e-3
    if spec.size > 1:
        assert abs(np.corrcoef(standardised.T)[0, 1]) < 0.03


def test_the_smallest_and_the_largest_uniform_number_give_numbers_that_are_finite_and_symmetric():
    normal = likelihood("normal", {"value": PRICE})
    found = np.array(normal.sample(np.zeros((2, 2), "float32"), np.array([[0.0], [LARGEST]], "float32"))["value"])
    expected = -3 + 2.5 * stats.norm.ppf(2**-25) * np.array([1, -1])
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_classes_have_the_probabilities_that_their_logits_say():
    logits = np.array([0.3, -2.0, 1.5, -40.0, 0.0])
    found = np.bincount(sampled(likelihood("category", {"label": LABEL}), logits)["label"], minlength=5)
    probabilities = np.exp(logits) / np.exp(logits).sum()
    assert found[3] == 0
    likely = [0, 1, 2, 4]
    assert stats.chisquare(found[likely], ROWS * probabilities[likely], sum_check=False).pvalue > 1e-3


def test_a_class_without_probability_is_never_drawn_and_the_last_is_reached():
    category = likelihood("category", {"label": LABEL})
    logits = np.tile(np.array([-1e9, 0, 0, 0, -1e9], "float32"), (2, 1))
    found = np.array(category.sample(logits, np.array([0.0, LARGEST], "float32"))["label"])
    np.testing.assert_array_equal(found, [1, 3])
    certain = np.array([[-1e9, -1e9, -1e9, -1e9, 0]], "float32")
    assert np.array(category.sample(certain, np.array([LARGEST], "float32"))["label"]) == [4]


def test_texts_of_independent_positions_have_the_probability_that_the_likelihood_gives_them():
    tokens = likelihood("tokens", {"text": TEXT})
    outputs = np.random.default_rng(2).normal(size=tokens.outputs)
    found = sampled(tokens, outputs)
    texts = [text for n in range(LONGEST + 1) for text in itertools.product(range(SYMBOLS), repeat=n)]
    counts = dict.fromkeys(texts, 0)
    for row, length in zip(found["text"], found["text.length"], strict=True):
        counts[tuple(row[:length])] += 1
        assert not row[length:].any()
    padded = np.array([[*text, *[0] * (LONGEST - len(text))] for text in texts])
    x = tokens.prepare({"text": padded, "text.length": np.array([len(text) for text in texts])}, None)
    given = np.broadcast_to(outputs.astype("float32"), (1, len(texts), *outputs.shape))
    probabilities = np.exp(np.array(tokens.log_prob(x, given), "float64")[0])
    expected = ROWS * probabilities / probabilities.sum()  # of rounding alone: they sum to one
    assert stats.chisquare(list(counts.values()), expected).pvalue > 1e-3


def test_each_column_of_a_table_is_drawn_by_its_own_likelihood_and_images_are_means():
    specs = {"price": PRICE, **image((2, 3, 1), 5), "label": LABEL, "place": PLACE}
    product = likelihood("product", specs, columns={"image": "gaussian"})
    kinds = {"price": "normal", "image": "gaussian", "label": "category", "place": "normal"}
    columns = {name: likelihood(kind, {name: specs[name]}) for name, kind in kinds.items()}
    rng = np.random.default_rng(3)
    assert product.sampling == (1 + 1 + 2,)
    outputs = rng.normal(size=(4, *product.outputs)).astype("float32")
    uniform = rng.random((4, 4), "float32")
    found = product.sample(outputs, uniform)
    first, numbers = 0, {"price": uniform[:, :1], "image": None, "label": uniform[:, 1], "place": uniform[:, 2:]}
    for name, column in columns.items():
        size = int(np.prod(column.outputs))
        own = outputs[:, first : first + size].reshape(4, *column.outputs)
        made = column.mean(own) if name == "image" else column.sample(own, numbers[name])
        np.testing.assert_allclose(np.array(found[name]), np.array(made[name]), rtol=1e-6)
        first += size


def test_images_alone_are_means():
    assert likelihood("gaussian", image((2, 3, 1), 5)).sampling is None
    product = likelihood("product", image((2, 3, 1), 5), columns={"image": "gaussian"})
    assert product.sampling is None
    outputs = np.random.default_rng(4).normal(size=(4, *product.outputs)).astype("float32")
    np.testing.assert_array_equal(product.sample(outputs, None)["image"], product.mean(outputs)["image"])
