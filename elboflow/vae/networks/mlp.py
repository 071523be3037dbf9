"""Multilayer perceptrons."""

import math
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from elboflow.vae.layers import LAYOUT, OUTPUT, Activation, Initializer, Rate, Width
from elboflow.vae.networks import Network, Site

if TYPE_CHECKING:
    import keras


class MLP(Network):
    """Fully connected layers, for small images and for features that are no images."""

    main: ClassVar = "hidden"
    kind: Literal["mlp"] = "mlp"
    hidden: list[Width] = Field([256, 256], description="units of each hidden layer, from the input to the output")
    activation: Activation = "relu"
    initializer: Initializer = "glorot_uniform"
    dropout: Rate = 0.0

    def encoder(self, site: Site) -> "keras.Layer":
        """Returns flatten → hidden layers → outputs."""
        return self._layers(site)

    def decoder(self, site: Site) -> "keras.Layer":
        """Returns hidden layers → outputs."""
        return self._layers(site)

    def _layers(self, site: Site) -> "keras.Layer":
        from keras import layers

        from elboflow.vae.layers.hidden import chain, hidden
        from elboflow.vae.layers.initializers import seeded

        def dense(units: int) -> "list[keras.Layer]":
            kernel = seeded(self.initializer, site.seeds)
            made = layers.Dense(units, self.activation, kernel_initializer=kernel, dtype=site.policy)
            return hidden(made, self.dropout)

        units = math.prod(site.outputs)
        stack = [layer for width in self.hidden for layer in dense(width)]
        output = layers.Dense(
            units, kernel_initializer=seeded(self.initializer, site.seeds), name=OUTPUT, dtype="float32"
        )
        return chain(
            site.name,
            site.inputs,
            site.condition,
            [layers.Flatten(data_format=LAYOUT)] if len(site.inputs) != 1 else [],
            [*stack, output, *([layers.Reshape(site.outputs)] if site.outputs != (units,) else [])],
        )
