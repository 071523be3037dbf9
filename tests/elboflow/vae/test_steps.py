"""Training steps: micro-batches, dropout and the moving average of the weights, compiled."""

import traceback
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

import elboflow
from elboflow.settings import RequestError
from elboflow.vae import ops
from elboflow.vae.compute.contract import Job
from elboflow.vae.config import EMA, Adam, Checkpoints, Constant, EarlyStopping, TrainingConfig
from elboflow.vae.data import InMemory
from elboflow.vae.families.flat import Flat
from elboflow.vae.networks.mlp import MLP
from elboflow.vae.objectives.elbo import ELBO
from elboflow.vae.terms import Loss
from tests.elboflow.vae.given import weights as weights_of

pytestmark = [pytest.mark.xdist_group("tensorflow"), pytest.mark.usefixtures("tensorflow_backend")]

RATE = Constant(initial=3e-3)


def model(dropout=0.0):
    network = MLP(hidden=[24], dropout=dropout)
    return Flat(latent=4, encoder=network, decoder=network, output_bias="zeros")


class Measuring(ELBO):
    """The usual objective, with measures of any names, which are 1."""

    kind: Literal["measuring"] = "measuring"
    measures: list[str]

    def __call__(self, terms, step):
        total = super().__call__(terms, step).total
        return Loss(total, {name: ops.ones_like(total) for name in self.measures})


def steps_of(digits, specs, dropout=0.0, **settings):
    from tests.elboflow.vae.stepping import stepping

    # A large epsilon: Adam divides by the gradient's size, and would make much of the last digit of a tiny one.
    training = TrainingConfig(learning_rate=RATE, optimizer=Adam(epsilon=1e-3), **settings)
    return stepping(model(dropout), training, digits.head(32), specs)


@pytest.mark.slow
def test_micro_batches_give_the_weights_of_whole_batches(digits, digits_specs):
    weights = np.linspace(0.5, 1.5, 32, dtype=np.float32)
    examples = replace(digits.head(32), weights=weights)
    whole, parts = (steps_of(examples, digits_specs, dropout=0.2, micro_batches=count) for count in (1, 4))
    for (name, one), other in zip(whole.run(0, 10).items(), parts.run(0, 10).values(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, err_msg=name)
    for one, other in zip(weights_of(whole.model), weights_of(parts.model), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.slow
def test_dropout_is_a_function_of_the_step_and_hurts_training_alone(digits, digits_specs):
    first, again, without = (steps_of(digits, digits_specs, dropout=rate) for rate in (0.3, 0.3, 0.0))
    measures = first.run(0, 6)
    begun, rest = again.run(0, 2), again.run(2, 4)
    for name, values in measures.items():
        np.testing.assert_array_equal(values, np.concatenate([begun[name], rest[name]]), err_msg=name)
    assert (measures["loss"] != without.run(0, 6)["loss"]).all()
    batch = {"image": digits.features["image"][:8]}
    noise = {"x": np.full((8, 8, 8, 1), 0.5, np.float32), "z": np.zeros((1, 8, 4), np.float32)}
    one, other = (np.array(first.model.terms(batch, noise).log_likelihood) for _ in range(2))
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("stopping", [None, EarlyStopping()], ids=["last", "best"])
def test_what_is_validated_and_returned_is_the_moving_average_of_the_weights(
    stopping, digits, digits_specs, tmp_path, monkeypatch
):
    from elboflow.vae.training import engine, train
    from elboflow.vae.training.validation import validator

    after_each_step, refresh = [], engine.Engine.refresh

    def seen(self):
        after_each_step.append(weights_of(self._model))
        refresh(self)

    monkeypatch.setattr(engine.Engine, "refresh", seen)
    split = InMemory(digits.head(64)), InMemory(digits[64:128])
    training = TrainingConfig(
        learning_rate=RATE,
        batch_size=64,  # one step an epoch
        epochs=5,
        ema=EMA(decay=0.6),
        early_stopping=stopping,
        checkpoints=Checkpoints(every_minutes=None),
    )
    trained = train(Job(*split, digits_specs, model(), training, 0, tmp_path, {}))
    assert trained.best_epoch == 5
    assert len(after_each_step) == 5 + (stopping is None)  # and the last weights once more
    average = after_each_step[0]
    for weights in after_each_step[1:5]:
        average = [0.6 * one + 0.4 * other for one, other in zip(average, weights, strict=True)]
    for mine, expected, last in zip(weights_of(trained.model), average, after_each_step[-1], strict=True):
        np.testing.assert_allclose(mine, expected, atol=1e-6)
        assert (mine != last).any()
    means = validator(trained.model, split[1], 0, memory_megabytes=100)()
    assert trained.curves.validation["elbo"][-1] == pytest.approx(means["elbo"], abs=1e-3)
    assert means["elbo"] == pytest.approx(means["reconstruction"] - means["kl"], abs=1e-3)


def measuring(names, digits, specs, folder):
    """The curves of a training whose objective has measures of these names."""
    from elboflow.vae.training import train

    split = InMemory(digits.head(64))
    config = Flat(latent=2, encoder=MLP(hidden=[8]), decoder=MLP(hidden=[8]), objective=Measuring(measures=names))
    return train(Job(split, split, specs, config, TrainingConfig(batch_size=32, epochs=2), 0, folder, {})).curves


@pytest.mark.parametrize(
    "name", ["loss", "gradient_norm", "skipped", "epoch", "step", "learning_rate", "skipped_steps"]
)
def test_a_measure_with_a_name_that_every_training_gives_is_refused(name, digits, digits_specs, tmp_path):
    with pytest.raises(RequestError, match=rf"a measure '{name}', .* every name but epoch, gradient_norm, learning"):
        measuring([name], digits, digits_specs, tmp_path)


def test_a_measure_is_one_of_training_itself_only_by_its_whole_name(digits, digits_specs, tmp_path):
    names = ["pixels_skipped", "commitment_loss", "group"]
    train = measuring(names, digits, digits_specs, tmp_path).train
    assert [train[name] for name in names] == [[1.0, 1.0]] * 3
    assert train["skipped_steps"] == [0, 0]
    assert np.isfinite(train["loss"]).all()


def test_between_a_training_and_its_loss_stand_no_more_than_seven_frames(digits, digits_specs, tmp_path, monkeypatch):
    from elboflow.vae.training import train

    package, own, call = Path(elboflow.__file__).parent, [], ELBO.__call__

    def seen(self, terms, step):
        own.append([frame for frame in traceback.extract_stack() if Path(frame.filename).is_relative_to(package)])
        return call(self, terms, step)

    monkeypatch.setattr(ELBO, "__call__", seen)
    split = InMemory(digits.head(64))
    train(Job(split, split, digits_specs, model(), TrainingConfig(batch_size=64, epochs=1), 0, tmp_path, {}))
    assert own[0][0].name == "train"
    assert len(own[0]) <= 7, own[0]
