"""What all sides train: a VAE on Bernoulli pixels that are binarised anew each epoch, batch 128, Adam.

This file imports neither a framework nor, until a model's settings are asked for, the product: every side can.
"""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from elboflow.vae.families.flat import Flat

BATCH = 128
LATENT = 50
HIDDEN = (200, 200)
LEARNING_RATE = 1e-3
CLIP = 100.0
IMAGE = (28, 28, 1)
COLOUR_IMAGE = (32, 32, 3)
# The dense layers of the MLP, inputs × outputs: encoder, then decoder.
MLP_SIZES = ((784, 200), (200, 200), (200, 2 * LATENT), (LATENT, 200), (200, 200), (200, 784))


def mlp() -> "Flat":
    """Returns the model 784-200-200-50."""
    from elboflow.vae.families.flat import Flat
    from elboflow.vae.networks.mlp import MLP

    network = MLP(hidden=list(HIDDEN))
    return Flat(latent=LATENT, encoder=network, decoder=network)


def convolutional() -> "Flat":
    """Returns the model for images 32×32×3: stages of 32 and 64 filters, 256 units, 64 latents."""
    from elboflow.vae.families.flat import Flat
    from elboflow.vae.networks.convolutional import Convolutional

    return Flat(latent=64, encoder=Convolutional(), decoder=Convolutional())


def initial_weights() -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns kernel and bias of each dense layer of the MLP as Glorot and Bengio (2010) start them."""
    rng = np.random.default_rng(0)
    return [
        (rng.uniform(-bound, bound, size).astype(np.float32), np.zeros(size[1], np.float32))
        for size in MLP_SIZES
        for bound in [np.sqrt(6 / sum(size))]
    ]
