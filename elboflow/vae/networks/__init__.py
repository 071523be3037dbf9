"""Encoders and decoders: one file per kind, each with a function `encoder` and a function `decoder`.

An encoder takes x `[batch, height, width, channels]` and returns `[batch, units]`; a decoder takes `[batch, latent]`
and returns `[batch, height, width, channels]`. A new kind is one file, its settings in `elboflow.vae.config`, one line
below. Each is a `keras.Sequential` whose last layer with weights is `elboflow.vae.networks.layers.output`: what is true
of all kinds (dropout, precision, the output's bias) is done from outside, layer by layer.
"""

from collections.abc import Iterator
from types import ModuleType

import keras

from elboflow.vae import config
from elboflow.vae.networks import convolutional, mlp

_KINDS: dict[str, ModuleType] = {"mlp": mlp, "convolutional": convolutional}


def encoder(
    settings: config.Network, shape: tuple[int, int, int], units: int, seeds: Iterator[int]
) -> keras.Sequential:
    """Returns an encoder from images of `shape` to `units` numbers; `seeds` fixes its initial weights."""
    return _KINDS[settings.kind].encoder(settings, shape, units, seeds)


def decoder(
    settings: config.Network, latent: int, shape: tuple[int, int, int], seeds: Iterator[int]
) -> keras.Sequential:
    """Returns a decoder from `latent` numbers to images of `shape`; `seeds` fixes its initial weights."""
    return _KINDS[settings.kind].decoder(settings, latent, shape, seeds)
