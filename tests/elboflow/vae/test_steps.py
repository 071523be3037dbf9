"""Training steps: micro-batches, dropout and the moving average of the weights, compiled."""

import numpy as np
import pytest

from elboflow.vae.config import EMA, MLP, Adam, Checkpoints, Constant, EarlyStopping, ModelConfig, TrainingConfig
from elboflow.vae.data import Examples, InMemory

pytestmark = [pytest.mark.xdist_group("tensorflow"), pytest.mark.usefixtures("tensorflow_backend")]

RATE = Constant(initial=3e-3)


def model(dropout=0.0):
    network = MLP(hidden=[24], dropout=dropout)
    return ModelConfig(latent=4, encoder=network, decoder=network, output_bias="zeros")


def steps_of(digits, spec, dropout=0.0, **settings):
    from tests.elboflow.vae.stepping import stepping

    # A large epsilon: Adam divides by the gradient's size, and would make much of the last digit of a tiny one.
    training = TrainingConfig(learning_rate=RATE, optimizer=Adam(epsilon=1e-3), **settings)
    return stepping(model(dropout), training, digits.head(32), spec)


def test_micro_batches_give_the_weights_of_whole_batches(digits, digits_spec):
    weights = np.linspace(0.5, 1.5, 32, dtype=np.float32)
    examples = Examples(digits.images[:32], digits.keys[:32], weights=weights)
    whole, parts = (steps_of(examples, digits_spec, dropout=0.2, micro_batches=count) for count in (1, 4))
    np.testing.assert_allclose(whole.run(0, 10), parts.run(0, 10), rtol=1e-4)
    for one, other in zip(whole.model.get_weights(), parts.model.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_dropout_is_a_function_of_the_step_and_hurts_training_alone(digits, digits_spec):
    first, again, without = (steps_of(digits, digits_spec, dropout=rate) for rate in (0.3, 0.3, 0.0))
    measures = first.run(0, 6)
    np.testing.assert_array_equal(measures, np.concatenate([again.run(0, 2), again.run(2, 4)]))
    assert (measures[:, 0] != without.run(0, 6)[:, 0]).all()
    x = first.model.prepare(digits.images[:8], np.full((8, 8, 8, 1), 0.5, np.float32))
    noise = np.zeros((1, 8, 4), np.float32)
    one, other = (np.array(first.model.terms(x, noise).log_likelihood) for _ in range(2))
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("stopping", [None, EarlyStopping()], ids=["last", "best"])
def test_what_is_validated_and_returned_is_the_moving_average_of_the_weights(
    stopping, digits, digits_spec, tmp_path, monkeypatch
):
    from elboflow.vae.training import engine, train
    from elboflow.vae.training.validation import validator

    after_each_step, averaged = [], engine.Engine.averaged

    def seen(self):
        after_each_step.append(self.values()[: len(self._model.variables)])
        return averaged(self)

    monkeypatch.setattr(engine.Engine, "averaged", seen)
    split = digits.head(64), Examples(digits.images[64:128], digits.keys[64:128])
    training = TrainingConfig(
        learning_rate=RATE,
        batch_size=64,  # one step an epoch
        epochs=5,
        ema=EMA(decay=0.6),
        early_stopping=stopping,
        checkpoints=Checkpoints(every_minutes=None),
    )
    trained = train(InMemory(split[0]), split[1], digits_spec, model(), training, 0, tmp_path, {})
    assert trained.best_epoch == len(after_each_step) == 5
    average = after_each_step[0]
    for weights in after_each_step[1:]:
        average = [0.6 * one + 0.4 * other for one, other in zip(average, weights, strict=True)]
    for mine, expected, last in zip(trained.model.get_weights(), average, after_each_step[-1], strict=True):
        np.testing.assert_allclose(mine, expected, atol=1e-6)
        assert (mine != last).any()
    reconstruction, kl = validator(trained.model, split[1], 0)()
    assert trained.curves.validation["elbo"][-1] == pytest.approx(reconstruction - kl, abs=1e-3)
