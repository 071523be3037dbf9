"""Optimizers: each is Keras's own, with the clipping, the weight decay and the moving average that the settings say."""

import numpy as np
import pytest
from pydantic import ValidationError

from elboflow.vae.config import EMA, SGD, Adam, AdamW, Constant, Lion, Muon, RMSprop, TrainingConfig
from elboflow.vae.families.flat import Flat
from elboflow.vae.networks.mlp import MLP
from tests.elboflow.vae.given import image, weights

pytestmark = [pytest.mark.xdist_group("tensorflow"), pytest.mark.usefixtures("tensorflow_backend")]

RATE = 0.01
KINDS = {
    "Adam": (Adam(beta_1=0.8, beta_2=0.95, epsilon=1e-5), {"beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-5}),
    "AdamW": (AdamW(weight_decay=0.1), {"weight_decay": 0.1}),
    "SGD": (SGD(momentum=0.9, nesterov=True), {"momentum": 0.9, "nesterov": True}),
    "RMSprop": (RMSprop(rho=0.8, momentum=0.5), {"rho": 0.8, "momentum": 0.5, "epsilon": 1e-7}),
    "Lion": (Lion(beta_1=0.8), {"beta_1": 0.8}),
    "Muon": (
        Muon(momentum=0.9, weight_decay=0.1),
        {"momentum": 0.9, "weight_decay": 0.1, "adam_weight_decay": 0.1, "exclude_layers": ["output"]},
    ),
}


def made(optimizer, **settings):
    from elboflow.vae.training.optimizers import optimizer as make

    settings = {"learning_rate": Constant(initial=RATE), "gradient_clip": None} | settings
    return make(TrainingConfig(optimizer=optimizer, **settings))


def vae():
    config = Flat(latent=3, encoder=MLP(hidden=[8, 7]), decoder=MLP(hidden=[6]))
    return config.build(image((4, 4, 1), 2))


def trainable(model):
    """The variables of its only player."""
    (player,) = model.players
    return list(player.variables)


def gradients_of(model, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(variable.shape).astype("float32") for variable in trainable(model)]


def stepped(model, optimizer, steps=3, gradients=None):
    """The weights after some steps, the same gradients for whoever makes them."""
    optimizer.build(trainable(model))
    for step in range(steps):
        optimizer.apply(gradients or gradients_of(model, step), trainable(model))
    return weights(model)


@pytest.mark.parametrize("name", KINDS)
def test_each_optimizer_makes_the_steps_of_keras_own(name):
    import keras

    settings, arguments = KINDS[name]
    theirs = getattr(keras.optimizers, name)(RATE, **arguments)
    theirs.exclude_from_weight_decay(var_names=["bias"])
    for mine, other in zip(stepped(vae(), made(settings)), stepped(vae(), theirs), strict=True):
        np.testing.assert_array_equal(mine, other)


@pytest.mark.parametrize("name", KINDS)
def test_each_optimizer_lowers_the_loss(name, digits):
    import tensorflow as tf

    model, optimizer = vae(), made(KINDS[name][0])
    optimizer.build(trainable(model))
    codes = (digits.features["image"][:64, 2:6, 2:6] > 8).astype("uint8")
    z = np.random.default_rng(0).standard_normal((1, 64, 3)).astype("float32")
    noise = {"x": np.full(codes.shape, 0.5, "float32"), "z": z}
    losses = []
    for _ in range(12):
        with tf.GradientTape() as tape:
            terms = model.terms({"image": codes}, noise)
            loss = tf.reduce_mean(terms.kl[0] - terms.log_likelihood[0])
        optimizer.apply(tape.gradient(loss, trainable(model)), trainable(model))
        losses.append(float(loss))
    assert losses[-1] < losses[0] - 0.1


@pytest.mark.parametrize("settings", [kind(weight_decay=0.1) for kind in (Adam, AdamW, SGD, RMSprop, Lion, Muon)])
def test_kernels_decay_and_biases_do_not(settings):
    model = vae()
    for variable in trainable(model):
        variable.assign(np.ones(variable.shape))
    zeros = [np.zeros(variable.shape, "float32") for variable in trainable(model)]
    for found in stepped(model, made(settings), 1, zeros):
        np.testing.assert_allclose(found, 1.0 - 0.1 * RATE * (found.ndim > 1), rtol=1e-6)


def test_muon_orthogonalises_the_kernels_of_hidden_layers_and_leaves_the_rest_to_adamw():
    model, adamw = vae(), vae()
    before = weights(model)
    found = stepped(model, made(Muon(weight_decay=0.0)), 1)
    same = stepped(adamw, made(AdamW(weight_decay=0.0)), 1)
    muon = [variable.path.split("/", 1)[1] for variable in trainable(model)]
    for name, old, new, other in zip(muon, before, found, same, strict=True):
        if "output" in name or old.ndim == 1:
            np.testing.assert_allclose(new, other, atol=1e-6)
        else:
            step = (new - old) / RATE / (0.2 * np.sqrt(max(old.shape)))
            assert np.linalg.svd(step, compute_uv=False) == pytest.approx(1.0, abs=0.35)  # five iterations come so near


@pytest.mark.parametrize(("precision", "scale"), [("float32", 1.0), ("float16", 2.0**15)])
def test_gradients_are_cut_by_value_and_then_by_norm(precision, scale):
    from elboflow.vae.compute.training_step import TrainingStep, Turn

    model = vae()
    optimizer = made(SGD(), gradient_clip=0.5, gradient_clip_value=0.1, precision=precision)
    turn = Turn(model.players[0], optimizer)
    step = TrainingStep(model, (turn,), None, 1, clip_value=0.1)
    before, gradients = weights(model), gradients_of(model)
    optimizer.build(trainable(model))
    norm = np.sqrt(sum((part**2).sum() for part in gradients))
    scaled = [part * scale for part in gradients]
    assert float(turn.norm(scaled)) == pytest.approx(norm, rel=1e-5)
    optimizer.apply(step.clipped(turn, scaled, True), trainable(model))
    cut = [np.clip(part, -0.1, 0.1) for part in gradients]
    factor = min(1.0, 0.5 / np.sqrt(sum((part**2).sum() for part in cut)))
    for old, new, part in zip(before, weights(model), cut, strict=True):
        np.testing.assert_allclose(new, old - RATE * factor * part, atol=1e-6)


def test_what_is_not_finite_is_not_cut_away():
    from elboflow.vae.compute.training_step import TrainingStep, Turn

    turn = Turn(vae().players[0], made(SGD()))
    step = TrainingStep(None, (turn,), None, 1, clip_value=1.0)
    gradient = np.array([np.inf, -np.inf, np.nan, 3.0, -3.0, 0.5], "float32")
    (found,) = step.clipped(turn, [gradient], True)
    np.testing.assert_array_equal(found, [np.inf, -np.inf, np.nan, 1.0, -1.0, 0.5])


def test_the_moving_average_begins_with_the_weights_after_the_first_step():
    model, plain = vae(), vae()
    optimizer = made(SGD(), ema=EMA(decay=0.75))
    stepped(model, optimizer, 4)
    average, sgd = None, made(SGD())
    sgd.build(trainable(plain))
    for step in range(4):
        sgd.apply(gradients_of(plain, step), trainable(plain))
        now = weights(plain)
        average = now if average is None else [0.75 * a + 0.25 * w for a, w in zip(average, now, strict=True)]
    for mine, other in zip(weights(model), weights(plain), strict=True):
        np.testing.assert_array_equal(mine, other)
    optimizer.finalize_variable_values(trainable(model))
    for mine, expected in zip(weights(model), average, strict=True):
        np.testing.assert_allclose(mine, expected, rtol=1e-5, atol=1e-7)


def test_settings_that_would_do_nothing_are_refused():
    with pytest.raises(ValidationError, match="nesterov: without a momentum above 0 it does nothing"):
        SGD(nesterov=True)
    with pytest.raises(ValidationError, match="beta_1"):
        Lion(beta_1=0.0)
