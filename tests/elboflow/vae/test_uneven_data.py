"""Weights of examples: they move the model, and no bound that is reported."""

import dataclasses

import numpy as np
import pytest

from elboflow.vae.compute.contract import Job
from elboflow.vae.config import Constant, TrainingConfig
from elboflow.vae.data import Examples, InMemory
from elboflow.vae.families.flat import Flat
from elboflow.vae.networks.mlp import MLP
from tests.elboflow.vae.given import assert_same_weights

pytestmark = [pytest.mark.xdist_group("tensorflow"), pytest.mark.usefixtures("tensorflow_backend")]

MODEL = Flat(latent=4, encoder=MLP(hidden=[64]), decoder=MLP(hidden=[64]))
RARE, COMMON = 0, 1


@pytest.fixture
def uneven(digits) -> Examples:
    """Digits of which one in seventeen is a zero, and all others are ones."""
    rare, common = (np.flatnonzero(digits.features["label"] == label) for label in (RARE, COMMON))
    return digits[np.concatenate([rare[:10], common[:160]])]


def trained(examples, validation, specs, folder, epochs=60, rate=5e-3):
    from elboflow.vae.training import train

    training = TrainingConfig(
        epochs=epochs, batch_size=34, learning_rate=Constant(initial=rate), early_stopping=None, memory_megabytes=1
    )
    splits = InMemory(examples), InMemory(validation)
    return train(Job(*splits, specs, MODEL, training, 0, folder / "checkpoints", {"seed": 0}))


def balanced(examples: Examples) -> Examples:
    weights = 1 / np.bincount(examples.features["label"])[examples.features["label"]]
    return dataclasses.replace(examples, weights=(weights / weights.mean()).astype(np.float32))


@pytest.mark.slow
def test_balance_improves_the_bound_of_the_rare_class(uneven, digits, digits_specs, tmp_path):
    held_out = digits[np.flatnonzero(digits.features["label"] == RARE)[10:]]

    def elbo(examples, name):
        return trained(examples, held_out, digits_specs, tmp_path / name).curves.validation["elbo"][-1]

    assert elbo(balanced(uneven), "balanced") > elbo(uneven, "plain") + 1


@pytest.mark.slow
def test_the_reported_bounds_are_plain_means_whatever_the_weights(uneven, digits_specs, tmp_path):
    weights = np.where(uneven.features["label"] == RARE, len(uneven) / 10, 0).astype(np.float32)  # ones count nothing
    weighted = dataclasses.replace(uneven, weights=weights)
    # A learning rate that moves nothing: the weights can show themselves in the loss alone.
    plain, other = (
        trained(examples, uneven, digits_specs, tmp_path / name, epochs=2, rate=1e-12).curves
        for name, examples in (("plain", uneven), ("weighted", weighted))
    )
    for term in ("elbo", "reconstruction", "kl"):
        np.testing.assert_allclose(other.train[term], plain.train[term], rtol=1e-6)
        np.testing.assert_allclose(other.validation[term], plain.validation[term], rtol=1e-6)
    np.testing.assert_allclose(plain.train["loss"], -np.array(plain.train["elbo"]), rtol=1e-5)
    assert abs(other.train["loss"][0] + other.train["elbo"][0]) > 0.1


@pytest.mark.slow
def test_a_weight_of_zero_is_as_if_the_example_were_not_there(uneven, digits_specs, tmp_path):
    def poisoned(value):
        codes = uneven.features["image"].copy()
        codes[uneven.features["label"] == RARE] = value
        weights = np.where(uneven.features["label"] == COMMON, len(uneven) / 160, 0).astype(np.float32)
        return dataclasses.replace(uneven, features={"image": codes}, weights=weights)

    black, white = (
        trained(poisoned(value), uneven, digits_specs, tmp_path / str(value), epochs=3) for value in (0, 16)
    )
    assert_same_weights(black, white)
