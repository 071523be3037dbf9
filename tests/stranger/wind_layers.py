"""A layer with the weights of a prior."""

from typing import Any

import keras
import numpy as np
from keras import ops


class Centres(keras.layers.Layer):
    """The weights of a mixture."""

    def __init__(self, count: int, latent: int, seed: int) -> None:
        super().__init__(name="centres")
        self.count, self.latent, self.seed = count, latent, seed

    def build(self, shape: Any = None) -> None:
        drawn = np.random.default_rng(self.seed).normal(size=(self.count, self.latent)).astype("float32")
        self.means = self.add_weight(
            shape=drawn.shape, initializer=lambda shape, dtype: ops.convert_to_tensor(drawn), name="means"
        )
        self.built = True
