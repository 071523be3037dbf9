"""The precision in which networks compute."""

from collections.abc import Iterator
from contextlib import contextmanager

import keras

from elboflow.vae import config
from elboflow.vae.networks import layers


@contextmanager
def computing_in(precision: config.Precision, *networks: keras.Sequential) -> Iterator[None]:
    """Lets the hidden layers of networks compute in a precision; their weights are float32 all the while.

    The output layer stays in float32, as the densities of its outputs do: bfloat16 has the 8 binary digits of an 8-bit
    intensity, too few for the mean of a density that is to be sharper than that.

    Args:
        precision: float32, bfloat16 or float16.
        networks: The networks; afterwards they compute in float32 again.
    """
    if precision == "float32":
        yield
        return
    _set(f"mixed_{precision}", networks)
    try:
        yield
    finally:
        _set("float32", networks)


def _set(policy: str, networks: tuple[keras.Sequential, ...]) -> None:
    for network in networks:
        place = network.layers.index(layers.output(network))
        for number, layer in enumerate(network.layers):
            layer.dtype_policy = policy if number < place else "float32"
