"""Strided convolutions and their mirror image."""

import math
from collections.abc import Iterator

import keras
from keras import layers

from elboflow.vae import config
from elboflow.vae.networks.initializers import seeded
from elboflow.vae.networks.layers import LAYOUT, OUTPUT


def encoder(
    settings: config.Convolutional, shape: tuple[int, int, int], units: int, seeds: Iterator[int]
) -> keras.Sequential:
    """Returns one convolution of stride 2 per stage → dense → `units`."""
    return keras.Sequential(
        [
            keras.Input(shape),
            *_stages(layers.Conv2D, settings.channels, settings, seeds),
            layers.Flatten(data_format=LAYOUT),
            _dense(settings.dense, settings, seeds),
            layers.Dense(units, kernel_initializer=seeded(settings.initializer, seeds), name=OUTPUT),
        ],
        name="encoder",
    )


def decoder(
    settings: config.Convolutional, latent: int, shape: tuple[int, int, int], seeds: Iterator[int]
) -> keras.Sequential:
    """Returns dense → the smallest grid → one transposed convolution of stride 2 per stage, cropped to `shape`."""
    height, width, outputs = shape
    factor = 2 ** len(settings.channels)
    rows, columns = math.ceil(height / factor), math.ceil(width / factor)
    deepest = settings.channels[-1]
    return keras.Sequential(
        [
            keras.Input((latent,)),
            _dense(settings.dense, settings, seeds),
            _dense(rows * columns * deepest, settings, seeds),
            layers.Reshape((rows, columns, deepest)),
            *_stages(layers.Conv2DTranspose, settings.channels[::-1], settings, seeds),
            layers.Cropping2D(((0, rows * factor - height), (0, columns * factor - width)), data_format=LAYOUT),
            layers.Conv2D(
                outputs,
                settings.kernel,
                padding="same",
                data_format=LAYOUT,
                kernel_initializer=seeded(settings.initializer, seeds),
                name=OUTPUT,
            ),
        ],
        name="decoder",
    )


def _stages(
    layer: type[layers.Layer], channels: list[int], settings: config.Convolutional, seeds: Iterator[int]
) -> list[layers.Layer]:
    """Returns one layer of stride 2 for each number of channels."""
    return [
        layer(
            filters,
            settings.kernel,
            strides=2,
            padding="same",
            data_format=LAYOUT,
            activation=settings.activation,
            kernel_initializer=seeded(settings.initializer, seeds),
        )
        for filters in channels
    ]


def _dense(units: int, settings: config.Convolutional, seeds: Iterator[int]) -> layers.Layer:
    return layers.Dense(units, settings.activation, kernel_initializer=seeded(settings.initializer, seeds))
