"""The weights that a model of some settings has, by their places in its `.keras` file: known without building it.

What a file claims is held against this before a network is built or a number read.
"""

import itertools
import math
from collections.abc import Iterator

from elboflow.vae.config import Categorical, Convolutional, DiscretizedLogistic, Gaussian, ModelConfig
from elboflow.vae.config.model import Network
from elboflow.vae.data import ImageSpec

Shape = tuple[int, ...]
Layer = tuple[str, Shape, int]
"""What Keras calls a layer's kind, the shape of its kernel, and the number of its biases."""


def weights(config: ModelConfig, spec: ImageSpec) -> dict[str, Shape]:
    """Returns the shape of each weight, by its place: `encoder/layers/dense_1/vars/0` is the second layer's kernel."""
    height, width, channels = spec.shape
    outputs = (height, width, channels * _parameters(config, spec))
    networks = {
        "encoder": _encoder(config.encoder, spec.shape, 2 * config.latent),
        "decoder": _decoder(config.decoder, config.latent, outputs),
    }
    return {place: shape for network, layers in networks.items() for place, shape in _placed(network, layers)}


def _placed(network: str, layers: list[Layer]) -> Iterator[tuple[str, Shape]]:
    counts: dict[str, int] = {}
    for kind, kernel, biases in layers:
        number = counts.setdefault(kind, 0)
        counts[kind] += 1
        place = f"{network}/layers/{kind}_{number}" if number else f"{network}/layers/{kind}"
        yield f"{place}/vars/0", kernel
        yield f"{place}/vars/1", (biases,)


def _parameters(config: ModelConfig, spec: ImageSpec) -> int:
    """Returns the numbers that the decoder makes of each value of an image (`elboflow.vae.distributions`)."""
    match config.likelihood:
        case Gaussian(scale="learned") | DiscretizedLogistic():
            return 2
        case Categorical():
            return spec.levels
        case _:
            return 1


def _encoder(network: Network, shape: tuple[int, int, int], units: int) -> list[Layer]:
    if not isinstance(network, Convolutional):
        return _dense([math.prod(shape), *network.hidden, units])
    height, width, channels = shape
    rows, columns = _smallest(network, height, width)
    stages = _pairs([channels, *network.channels])
    kernels = [("conv2d", (network.kernel, network.kernel, before, after), after) for before, after in stages]
    return [*kernels, *_dense([rows * columns * network.channels[-1], network.dense, units])]


def _decoder(network: Network, latent: int, shape: tuple[int, int, int]) -> list[Layer]:
    if not isinstance(network, Convolutional):
        return _dense([latent, *network.hidden, math.prod(shape)])
    height, width, outputs = shape
    rows, columns = _smallest(network, height, width)
    deepest, kernel = network.channels[-1], network.kernel
    stages = _pairs([deepest, *network.channels[::-1]])
    kernels = [("conv2d_transpose", (kernel, kernel, after, before), after) for before, after in stages]
    last = ("conv2d", (kernel, kernel, network.channels[0], outputs), outputs)
    return [*_dense([latent, network.dense, rows * columns * deepest]), *kernels, last]


def _dense(widths: list[int]) -> list[Layer]:
    return [("dense", (before, after), after) for before, after in _pairs(widths)]


def _pairs(widths: list[int]) -> list[tuple[int, int]]:
    return list(itertools.pairwise(widths))


def _smallest(network: Convolutional, height: int, width: int) -> tuple[int, int]:
    factor = 2 ** len(network.channels)
    return math.ceil(height / factor), math.ceil(width / factor)
