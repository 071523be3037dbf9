"""Strided convolutions and their mirror image."""

import math
from collections.abc import Iterator

import keras
from keras import layers

from vae import config


def encoder(
    settings: config.Convolutional, shape: tuple[int, int, int], units: int, seeds: Iterator[int]
) -> keras.Model:
    """Returns one convolution of stride 2 per stage → dense → `units`."""
    stages = [
        layers.Conv2D(
            filters,
            settings.kernel,
            strides=2,
            padding="same",
            activation=settings.activation,
            kernel_initializer=_glorot(seeds),
        )
        for filters in settings.channels
    ]
    return keras.Sequential(
        [
            keras.Input(shape),
            *stages,
            layers.Flatten(),
            layers.Dense(settings.dense, settings.activation, kernel_initializer=_glorot(seeds)),
            layers.Dense(units, kernel_initializer=_glorot(seeds)),
        ],
        name="encoder",
    )


def decoder(
    settings: config.Convolutional, latent: int, shape: tuple[int, int, int], seeds: Iterator[int]
) -> keras.Model:
    """Returns dense → the smallest grid → one transposed convolution of stride 2 per stage, cropped to `shape`."""
    height, width, outputs = shape
    factor = 2 ** len(settings.channels)
    rows, columns = math.ceil(height / factor), math.ceil(width / factor)
    deepest = settings.channels[-1]
    stages = [
        layers.Conv2DTranspose(
            filters,
            settings.kernel,
            strides=2,
            padding="same",
            activation=settings.activation,
            kernel_initializer=_glorot(seeds),
        )
        for filters in reversed(settings.channels)
    ]
    return keras.Sequential(
        [
            keras.Input((latent,)),
            layers.Dense(settings.dense, settings.activation, kernel_initializer=_glorot(seeds)),
            layers.Dense(rows * columns * deepest, settings.activation, kernel_initializer=_glorot(seeds)),
            layers.Reshape((rows, columns, deepest)),
            *stages,
            layers.Cropping2D(((0, rows * factor - height), (0, columns * factor - width))),
            layers.Conv2D(outputs, settings.kernel, padding="same", kernel_initializer=_glorot(seeds)),
        ],
        name="decoder",
    )


def _glorot(seeds: Iterator[int]) -> keras.initializers.Initializer:
    return keras.initializers.GlorotUniform(seed=next(seeds))
