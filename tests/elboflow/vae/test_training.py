"""Training: it learns, repeats itself, goes on after a kill, stops at a NaN, and keeps the best epoch."""

import numpy as np
import pytest

from elboflow.settings import WorkError
from elboflow.vae.config import MLP, Checkpoints, Constant, EarlyStopping, Gaussian, ModelConfig, TrainingConfig
from elboflow.vae.data import Examples, InMemory

pytestmark = [pytest.mark.xdist_group("tensorflow"), pytest.mark.usefixtures("tensorflow_backend")]

SMALL = ModelConfig(latent=4, encoder=MLP(hidden=[32]), decoder=MLP(hidden=[32]), output_bias="zeros")


@pytest.fixture
def split(digits):
    return digits.head(256), Examples(digits.images[256:384], digits.keys[256:384])


def trained(split, spec, folder, epochs=3, model=SMALL, seed=0, **settings):
    from elboflow.vae.training import train

    settings = {"batch_size": 64, "learning_rate": Constant(initial=3e-3), "early_stopping": None} | settings
    training = TrainingConfig(epochs=epochs, **settings)
    return train(InMemory(split[0]), split[1], spec, model, training, seed, folder / "checkpoints", {"seed": seed})


def assert_same_weights(first, second):
    for one, other in zip(first.model.get_weights(), second.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_bound_rises_and_the_curves_tell(split, digits_spec, tmp_path):
    curves = trained(split, digits_spec, tmp_path, epochs=8).curves
    assert curves.validation["elbo"][-1] > curves.validation["elbo"][0] + 5
    assert curves.train["epoch"] == list(range(1, 9))
    assert curves.train["step"] == [4 * epoch for epoch in range(1, 9)]
    np.testing.assert_allclose(curves.train["elbo"], -np.array(curves.train["loss"]), rtol=1e-5)
    assert {len(column) for column in [*curves.train.values(), *curves.validation.values()]} == {8}


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(split, digits_spec, tmp_path):
    first, again = (trained(split, digits_spec, tmp_path / name) for name in ("a", "b"))
    assert_same_weights(first, again)
    other = trained(split, digits_spec, tmp_path / "c", seed=1)
    assert (other.model.get_weights()[0] != first.model.get_weights()[0]).any()


def test_a_nan_stops_training_naming_step_and_term_and_the_last_checkpoint(split, digits_spec, tmp_path, monkeypatch):
    from elboflow.vae import objectives

    elbo = objectives.objective(SMALL.objective)

    def infinite_from_step_ten(terms, step):
        return objectives.ops.where(step >= 10, np.inf, 1.0) * elbo(terms, step)

    monkeypatch.setattr(objectives, "objective", lambda settings: infinite_from_step_ten)
    with pytest.raises(
        WorkError,
        match=r"step 10 of epoch 3: the loss became inf; its last checkpoint is .*/checkpoints/step-000000008",
    ):
        trained(split, digits_spec, tmp_path, epochs=5, checkpoints=Checkpoints(every_steps=4))


def test_an_exploding_training_names_the_term_of_the_bound(split, digits_spec, tmp_path):
    model = SMALL.model_copy(update={"likelihood": Gaussian(scale=0.01)})
    with pytest.raises(WorkError, match=r"the (reconstruction|kl) became (nan|-?inf)"):
        trained(
            split,
            digits_spec,
            tmp_path,
            model=model,
            learning_rate=Constant(initial=1e6),
            gradient_clip=None,
            epochs=20,
        )


def test_early_stopping_returns_the_weights_of_the_best_epoch(split, digits_spec, tmp_path):
    from elboflow.vae.training.validation import validator

    few = (split[0].head(64), split[1])
    stopping = EarlyStopping(patience=3)
    result = trained(
        few, digits_spec, tmp_path, epochs=200, learning_rate=Constant(initial=2e-2), early_stopping=stopping
    )
    bounds = result.curves.validation["elbo"]
    assert result.epochs == result.best_epoch + 3 < 200
    assert result.best_epoch == np.argmax(bounds) + 1
    reconstruction, kl = validator(result.model, few[1], seed=0)()
    assert reconstruction - kl == pytest.approx(max(bounds), abs=1e-3)


def test_a_batch_larger_than_the_split_is_refused(split, digits_spec, tmp_path):
    with pytest.raises(WorkError, match="batch_size is 500; the train split holds 256"):
        trained(split, digits_spec, tmp_path, batch_size=500)


def test_images_that_the_model_does_not_take_are_refused_with_both_shapes(split, digits_spec, tmp_path):
    other = Examples(np.zeros((128, 9, 8, 1), np.uint8), np.arange(128))
    with pytest.raises(
        WorkError, match=r"validation split holds images of shape \[9, 8, 1\]; the model takes \[8, 8, 1\]"
    ):
        trained((split[0], other), digits_spec, tmp_path)


def test_a_nan_that_only_validation_shows_stops_training_and_is_not_kept(split, digits_spec, tmp_path):
    whole_split_in_one_step = {"batch_size": 256, "learning_rate": Constant(initial=1e15)}
    with pytest.raises(
        WorkError, match=r"validation after step 0 of epoch 1: its (reconstruction|kl) became .*; no checkpoint"
    ):
        trained(split, digits_spec, tmp_path, epochs=3, **whole_split_in_one_step)
    assert not list((tmp_path / "checkpoints").glob("step-*"))


def test_validation_is_the_same_in_whatever_batches_and_with_noise_kept_or_drawn_anew(split, digits_spec, monkeypatch):
    from elboflow.vae.model import VAE
    from elboflow.vae.training import validation

    model = VAE(SMALL, digits_spec, seed=0)
    whole = validation.validator(model, split[1], seed=0)()
    monkeypatch.setattr(validation, "_BATCH", 100)
    monkeypatch.setattr(validation, "_NOISE_KEPT", 0)
    assert validation.validator(model, split[1], seed=0)() == pytest.approx(whole, abs=1e-4)
