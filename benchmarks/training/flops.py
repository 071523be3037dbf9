"""Floating-point operations of a training step, from the model's shape, and what devices can do at most."""

import itertools
import math
from collections.abc import Iterator

from elboflow.vae.config import Precision
from elboflow.vae.families.flat import Flat
from elboflow.vae.networks import Network
from elboflow.vae.networks.convolutional import Convolutional
from elboflow.vae.networks.mlp import MLP

# Operations/s of dense matrix products, by a part of the device's name: (float32, bfloat16). TensorFlow and JAX compute
# float32 products in TF32 on GPUs that have it, so that TF32's peak, without sparsity, is float32's here.
PEAKS = {
    "B200": (1.1e15, 2.25e15),  # NVIDIA DGX B200 datasheet, an eighth of the system
    "H200": (494.7e12, 989.4e12),  # NVIDIA H200 datasheet, SXM, half of the figures with sparsity
    "H100": (494.7e12, 989.4e12),  # NVIDIA H100 datasheet, SXM, half of the figures with sparsity
    "A100": (156e12, 312e12),  # NVIDIA A100 datasheet
    "L4": (60e12, 121e12),  # NVIDIA L4 datasheet, half of the figures with sparsity
    "V100": (15.7e12, 125e12),  # NVIDIA V100 datasheet, SXM2; tensor cores for float16 only
    "T4": (8.1e12, 65e12),  # NVIDIA T4 datasheet; tensor cores for float16 only
    "TPU v6": (459e12, 918e12),  # Google Cloud, "TPU v6e"; float32 at half of bfloat16's rate
    "TPU v5 lite": (98.5e12, 197e12),  # Google Cloud, "TPU v5e"
    "TPU v5": (229.5e12, 459e12),  # Google Cloud, "TPU v5p"
    "TPU v4": (137.5e12, 275e12),  # Google Cloud, "TPU v4"
}


def peak(device: str, precision: Precision) -> float | None:
    """Returns the most operations/s of a device by its name; None where the table does not have it."""
    for name, (single, half) in PEAKS.items():
        if name in device:
            return single if precision == "float32" else half
    return None


def training_flops(model: Flat, shape: tuple[int, int, int], parameters: int = 1) -> int:
    """Returns the operations of one training step for one example.

    Counted are the products of kernels alone: forward, and backward once for the kernels and once for the inputs, which
    the first layer does not need. Recomputation counts nothing, and so does all that is done element by element.

    Args:
        model: The model's settings.
        shape: Height, width, channels of an image.
        parameters: The likelihood's for each value.
    """
    encoder = list(_encoder(model.encoder, shape, 2 * model.latent))
    decoder = list(_decoder(model.decoder, model.latent, (*shape[:2], shape[2] * parameters)))
    return 6 * (sum(encoder) + sum(decoder)) - 2 * encoder[0]


def _dense(sizes: list[int]) -> Iterator[int]:
    """Yields the multiplications of each layer."""
    return (inputs * outputs for inputs, outputs in itertools.pairwise(sizes))


def _encoder(network: Network, shape: tuple[int, int, int], units: int) -> Iterator[int]:
    match network:
        case MLP(hidden=hidden):
            yield from _dense([math.prod(shape), *hidden, units])
        case Convolutional():
            (height, width, inputs), kernel = shape, network.kernel**2
            for filters in network.channels:
                height, width = math.ceil(height / 2), math.ceil(width / 2)
                yield height * width * kernel * inputs * filters
                inputs = filters
            yield from _dense([height * width * inputs, network.dense, units])


def _decoder(network: Network, latent: int, shape: tuple[int, int, int]) -> Iterator[int]:
    match network:
        case MLP(hidden=hidden):
            yield from _dense([latent, *hidden, math.prod(shape)])
        case Convolutional():
            factor, kernel = 2 ** len(network.channels), network.kernel**2
            height, width = math.ceil(shape[0] / factor), math.ceil(shape[1] / factor)
            inputs = network.channels[-1]
            yield from _dense([latent, network.dense, height * width * inputs])
            for filters in network.channels[::-1]:
                # A transposed convolution multiplies each of its inputs, not of its outputs, by the whole kernel.
                yield height * width * kernel * inputs * filters
                height, width, inputs = 2 * height, 2 * width, filters
            yield shape[0] * shape[1] * kernel * inputs * shape[2]
