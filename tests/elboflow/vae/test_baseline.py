"""The baseline of an evaluation: a model without latents, whose values are as often as in the train split."""

from types import SimpleNamespace

import numpy as np
import pytest

from elboflow.artifacts.spec import FeatureSpec
from elboflow.settings import table
from elboflow.vae.data import Examples, InMemory
from elboflow.vae.evaluation.evaluators import DatasetDescription, Seen
from elboflow.vae.evaluation.evaluators.baseline import BASELINE, Baseline
from elboflow.vae.families.flat import Flat
from elboflow.vae.likelihoods import Likelihood
from elboflow.vae.likelihoods.gaussian import Gaussian
from tests.elboflow.vae.given import image

pytestmark = [pytest.mark.xdist_group("tensorflow"), pytest.mark.usefixtures("tensorflow_backend")]

LEVELS = 17


def codes(count: int, seed: int = 0) -> np.ndarray:
    """Images whose pixels have means of their own, and of which two neighbours are always equal."""
    rng = np.random.default_rng(seed)
    values = rng.binomial(LEVELS - 1, np.linspace(0.1, 0.9, 16).reshape(4, 4, 1), (count, 4, 4, 1)).astype(np.uint8)
    values[:, 0, 1] = values[:, 0, 0]
    return values


def baseline(likelihood: str | Likelihood, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Returns the baseline of each test image, in nats."""
    (spec,) = image((4, 4, 1), LEVELS).values()
    config = Flat.model_validate({"kind": "flat", "latent": 2, "likelihood": likelihood})
    model = config.build({"image": spec}, seed=0)
    splits = [InMemory(Examples({"image": values}, np.arange(len(values)))) for values in (test, train)]
    data = DatasetDescription("a" * 64, {"test": len(test)})
    seen = Seen(SimpleNamespace(model=model), splits[0], data, 2, 16, 200, 0, splits[1])
    return Baseline.model_validate({"kind": "baseline"})(seen).per_example[BASELINE]


def test_the_baseline_of_codes_is_the_product_of_their_frequencies():
    train, test = codes(5000), codes(40, seed=1)
    found = baseline("categorical", train, test)
    flat = train.reshape(len(train), -1)
    frequencies = np.stack([np.bincount(column, minlength=LEVELS) / len(train) for column in flat.T])
    expected = np.log(np.maximum(frequencies, 1e-3 / LEVELS))[np.arange(16), test.reshape(40, -1)].sum(axis=1)
    np.testing.assert_allclose(found, expected, atol=0.02)


@pytest.mark.parametrize("kind", ["bernoulli", "gaussian", "discretized_logistic", "categorical"])
def test_no_other_constant_outputs_explain_the_examples_better_by_much(kind: str):
    from elboflow.vae import ops

    rng = np.random.default_rng(2)
    (spec,) = image((4, 4, 1), LEVELS).values()
    likelihood = table.find(Likelihood, kind).model_validate({"kind": kind}).of({"image": spec})
    values = codes(2000)
    uniform = None if likelihood.noise is None else rng.random((2000, *likelihood.noise)).astype(np.float32)
    x = likelihood.prepare({"image": values}, uniform)

    def mean(outputs: np.ndarray) -> float:
        given = ops.broadcast_to(outputs.astype(np.float32)[None, None], (1, 2000, *outputs.shape))
        return float(np.mean(np.asarray(likelihood.log_prob(x, given))))

    fitted = likelihood.independent({"image": values})
    assert fitted is not None
    best = mean(fitted)
    for _ in range(20):
        assert mean(fitted + 0.05 * rng.normal(size=fitted.shape)) < best + 0.05
    assert mean(fitted + 0.5) < best + 1e-3 or kind == "categorical"  # whose logits may all be moved by a constant


def test_a_scale_that_is_given_stays():
    (spec,) = image((4, 4, 1), LEVELS).values()
    assert Gaussian(scale=0.1).of({"image": spec}).independent({"image": codes(10)}).shape == (4, 4, 1)


def test_a_table_has_the_baseline_of_its_columns():
    specs = {
        "kind": FeatureSpec(kind="category", shape=(), dtype="int64", levels=3, role="class"),
        "other": FeatureSpec(kind="category", shape=(), dtype="int64", levels=2, role="class"),
    }
    product = table.find(Likelihood, "product").model_validate({"kind": "product"}).of(specs)
    features = {"kind": np.array([0, 0, 1, 2]), "other": np.array([0, 1, 1, 1])}
    np.testing.assert_allclose(product.independent(features), np.log([3 / 7, 2 / 7, 2 / 7, 2 / 6, 4 / 6]), rtol=1e-6)


def test_without_a_train_split_there_is_no_baseline():
    seen = Seen(None, InMemory(Examples({}, np.arange(1))), DatasetDescription("a", {}), 2, 16, 200, 0)
    assert not Baseline.model_validate({"kind": "baseline"})(seen).metrics
