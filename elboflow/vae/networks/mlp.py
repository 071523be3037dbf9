"""Multilayer perceptrons."""

import math
from collections.abc import Iterator

import keras
from keras import layers

from elboflow.vae import config
from elboflow.vae.networks.initializers import seeded
from elboflow.vae.networks.layers import LAYOUT, OUTPUT


def encoder(settings: config.MLP, shape: tuple[int, int, int], units: int, seeds: Iterator[int]) -> keras.Sequential:
    """Returns flatten → hidden layers → `units`."""
    return keras.Sequential(
        [
            keras.Input(shape),
            layers.Flatten(data_format=LAYOUT),
            *_hidden(settings, seeds),
            _output(units, settings, seeds),
        ],
        name="encoder",
    )


def decoder(settings: config.MLP, latent: int, shape: tuple[int, int, int], seeds: Iterator[int]) -> keras.Sequential:
    """Returns hidden layers → an image of `shape`."""
    return keras.Sequential(
        [
            keras.Input((latent,)),
            *_hidden(settings, seeds),
            _output(math.prod(shape), settings, seeds),
            layers.Reshape(shape),
        ],
        name="decoder",
    )


def _hidden(settings: config.MLP, seeds: Iterator[int]) -> list[layers.Layer]:
    return [
        layers.Dense(width, settings.activation, kernel_initializer=seeded(settings.initializer, seeds))
        for width in settings.hidden
    ]


def _output(units: int, settings: config.MLP, seeds: Iterator[int]) -> layers.Layer:
    return layers.Dense(units, kernel_initializer=seeded(settings.initializer, seeds), name=OUTPUT)
