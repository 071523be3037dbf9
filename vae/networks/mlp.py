"""Multilayer perceptrons."""

import math
from collections.abc import Iterator

import keras
from keras import layers

from vae import config


def encoder(settings: config.MLP, shape: tuple[int, int, int], units: int, seeds: Iterator[int]) -> keras.Model:
    """Returns flatten → hidden layers → `units`."""
    return keras.Sequential(
        [keras.Input(shape), layers.Flatten(), *_hidden(settings, seeds), _dense(units, None, seeds)], name="encoder"
    )


def decoder(settings: config.MLP, latent: int, shape: tuple[int, int, int], seeds: Iterator[int]) -> keras.Model:
    """Returns hidden layers → an image of `shape`."""
    return keras.Sequential(
        [
            keras.Input((latent,)),
            *_hidden(settings, seeds),
            _dense(math.prod(shape), None, seeds),
            layers.Reshape(shape),
        ],
        name="decoder",
    )


def _hidden(settings: config.MLP, seeds: Iterator[int]) -> list[layers.Layer]:
    return [_dense(width, settings.activation, seeds) for width in settings.hidden]


def _dense(units: int, activation: str | None, seeds: Iterator[int]) -> layers.Layer:
    return layers.Dense(units, activation, kernel_initializer=keras.initializers.GlorotUniform(seed=next(seeds)))
