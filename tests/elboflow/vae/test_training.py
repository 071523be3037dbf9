"""Training: it learns, repeats itself, goes on after a kill, stops at a NaN, and keeps the best epoch."""

import numpy as np
import pytest

from elboflow.settings import RequestError, WorkError
from elboflow.vae.compute.contract import Job
from elboflow.vae.config import Checkpoints, Constant, EarlyStopping, TrainingConfig
from elboflow.vae.data import InMemory
from elboflow.vae.families.flat import Flat
from elboflow.vae.likelihoods.gaussian import Gaussian
from elboflow.vae.networks.mlp import MLP
from elboflow.vae.objectives.elbo import ELBO
from elboflow.vae.terms import Loss
from tests.elboflow.vae.given import assert_same_weights, images, weights

pytestmark = [pytest.mark.xdist_group("tensorflow"), pytest.mark.usefixtures("tensorflow_backend")]

SMALL = Flat(latent=4, encoder=MLP(hidden=[32]), decoder=MLP(hidden=[32]), output_bias="zeros")


@pytest.fixture
def split(digits):
    return digits.head(256), digits[256:384]


def trained(split, specs, folder, epochs=3, model=SMALL, seed=0, **settings):
    from elboflow.vae.training import train

    settings = {"batch_size": 64, "learning_rate": Constant(initial=3e-3), "early_stopping": None} | settings
    training = TrainingConfig(epochs=epochs, **settings)
    splits = map(InMemory, split)
    return train(Job(*splits, specs, model, training, seed, folder / "checkpoints", {"seed": seed}))


def test_the_bound_rises_and_the_curves_tell(split, digits_specs, tmp_path):
    curves = trained(split, digits_specs, tmp_path, epochs=8).curves
    assert curves.validation["elbo"][-1] > curves.validation["elbo"][0] + 5
    assert curves.train["epoch"] == list(range(1, 9))
    assert curves.train["step"] == [4 * epoch for epoch in range(1, 9)]
    np.testing.assert_allclose(curves.train["elbo"], -np.array(curves.train["loss"]), rtol=1e-5)
    assert {len(column) for column in [*curves.train.values(), *curves.validation.values()]} == {8}


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights_and_another_seed_others(split, digits_specs, tmp_path):
    first, again, other = (
        trained(split, digits_specs, tmp_path / name, epochs=1, seed=seed)
        for name, seed in (("first", 0), ("again", 0), ("other", 1))
    )
    assert_same_weights(first, again)
    assert (weights(other.model)[0] != weights(first.model)[0]).any()


def test_a_nan_stops_training_naming_step_and_term_and_the_last_checkpoint(split, digits_specs, tmp_path, monkeypatch):
    from elboflow.vae import ops

    elbo = ELBO.__call__

    def infinite_from_step_ten(self, terms, step):
        return Loss(ops.where(step >= 10, np.inf, 1.0) * elbo(self, terms, step).total)

    monkeypatch.setattr(ELBO, "__call__", infinite_from_step_ten)
    with pytest.raises(
        WorkError,
        match=r"step 10 of epoch 3: the loss became inf; its last checkpoint is .*/checkpoints/step-000000008",
    ):
        trained(split, digits_specs, tmp_path, epochs=5, checkpoints=Checkpoints(every_steps=4))


def test_an_exploding_training_names_the_term_of_the_bound(split, digits_specs, tmp_path):
    model = SMALL.model_copy(update={"likelihood": Gaussian(scale=0.01)})
    with pytest.raises(WorkError, match=r"the (reconstruction|kl) became (nan|-?inf)"):
        trained(
            split,
            digits_specs,
            tmp_path,
            model=model,
            learning_rate=Constant(initial=1e6),
            gradient_clip=None,
            epochs=20,
        )


def test_early_stopping_returns_the_weights_of_the_best_epoch(split, digits_specs, tmp_path):
    from elboflow.vae.training.validation import validator

    few = (split[0].head(64), split[1])
    stopping = EarlyStopping(patience=3)
    result = trained(
        few, digits_specs, tmp_path, epochs=200, learning_rate=Constant(initial=2e-2), early_stopping=stopping
    )
    bounds = result.curves.validation["elbo"]
    assert result.epochs == result.best_epoch + 3 < 200
    assert result.best_epoch == np.argmax(bounds) + 1
    means = validator(result.model, InMemory(few[1]), seed=0, memory_megabytes=100)()
    assert means["elbo"] == pytest.approx(max(bounds), abs=1e-3)


def test_a_batch_larger_than_the_split_is_refused(split, digits_specs, tmp_path):
    with pytest.raises(RequestError, match="batch_size is 500; the train split holds 256"):
        trained(split, digits_specs, tmp_path, batch_size=500)


def test_images_that_the_model_does_not_take_are_refused_with_both_shapes(split, digits_specs, tmp_path):
    other = images(np.zeros((128, 9, 8, 1), np.uint8))
    with pytest.raises(
        WorkError, match=r"validation split holds 'image' of shape \[9, 8, 1\]; the model takes \[8, 8, 1\]"
    ):
        trained((split[0], other), digits_specs, tmp_path)


def test_a_nan_that_only_validation_shows_stops_training_and_is_not_kept(split, digits_specs, tmp_path):
    whole_split_in_one_step = {"batch_size": 256, "learning_rate": Constant(initial=1e15)}
    with pytest.raises(
        WorkError, match=r"validation after step 0 of epoch 1: its (reconstruction|kl) became .*; no checkpoint"
    ):
        trained(split, digits_specs, tmp_path, epochs=3, **whole_split_in_one_step)
    assert not list((tmp_path / "checkpoints").glob("step-*"))


def test_validation_is_the_same_in_whatever_batches_and_with_noise_kept_or_drawn_anew(split, digits_specs, monkeypatch):
    from elboflow.vae.training import validation

    model, source = SMALL.build(digits_specs), InMemory(split[1])
    whole = validation.validator(model, source, seed=0, memory_megabytes=100)()
    monkeypatch.setattr(validation, "_BATCH", 100)
    monkeypatch.setattr(validation, "_NOISE_KEPT", 0)
    assert validation.validator(model, source, 0, memory_megabytes=100)() == pytest.approx(whole, abs=1e-4)


class Shards:
    """Examples in shards, which counts what is read."""

    def __init__(self, examples, counts):
        self.counts, self.reads = counts, 0
        self._parts = np.split(np.arange(len(examples)), np.cumsum(counts)[:-1])
        self._examples = examples

    def read(self, shard):
        self.reads += 1
        return self._examples[self._parts[shard]]


@pytest.mark.parametrize("memory_megabytes", [1e-3, 100], ids=["streamed", "in memory"])
def test_validation_that_streams_gives_the_means_of_one_in_memory(split, digits_specs, memory_megabytes, monkeypatch):
    from elboflow.vae.training import validation

    monkeypatch.setattr(validation, "_BATCH", 50)
    model, source = SMALL.build(digits_specs), Shards(split[1], [30, 0, 61, 37])
    whole = validation.validator(model, InMemory(split[1]), seed=0, memory_megabytes=100)()
    assert whole.keys() == {"reconstruction", "kl", "elbo"}
    validate = validation.validator(model, source, 0, memory_megabytes)
    assert validate() == validate() == pytest.approx(whole, abs=1e-4)
    assert source.reads == (6 if memory_megabytes < 1 else 3)
    bias = model.decoder.get_layer("output").bias
    bias.assign(np.full(bias.shape, -1.0))
    assert validate()["reconstruction"] != pytest.approx(whole["reconstruction"], abs=1.0)


@pytest.mark.slow
def test_a_training_that_streams_its_validation_ends_like_one_that_does_not(split, digits_specs, tmp_path):
    from elboflow.vae.training import train

    def end(validation, name):
        training = TrainingConfig(epochs=2, batch_size=64, learning_rate=Constant(initial=3e-3), early_stopping=None)
        return train(Job(InMemory(split[0]), validation, digits_specs, SMALL, training, 0, tmp_path / name, {}))

    whole, parts = end(InMemory(split[1]), "whole"), end(Shards(split[1], [100, 28]), "parts")
    assert_same_weights(whole, parts)
    np.testing.assert_allclose(parts.curves.validation["elbo"], whole.curves.validation["elbo"], rtol=1e-6)
