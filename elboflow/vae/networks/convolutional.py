"""Strided convolutions, and transposed convolutions in the decoder."""

import math
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from elboflow.artifacts.spec import Shape
from elboflow.vae.layers import LAYOUT, OUTPUT, Activation, Initializer, Rate, Width
from elboflow.vae.networks import Network, Site

if TYPE_CHECKING:
    import keras


class Convolutional(Network):
    """Convolutions that halve the grid at every stage, then one dense layer. The decoder is the mirror image."""

    # Within a loop, XLA does not use its fast kernels for convolutions on CPUs: a gradient takes 13 times as long.
    loops_are_slow: ClassVar[bool] = True

    main: ClassVar = "channels"
    kind: Literal["convolutional"] = "convolutional"
    channels: list[Width] = Field(
        [32, 64], min_length=1, description="filters of each stage, each half the size of the last"
    )
    kernel: Annotated[int, Field(gt=0, le=1000)] = Field(3, description="height and width of a filter, in pixels")
    dense: Width = Field(256, description="units between the grid and the latent")
    activation: Activation = "relu"
    initializer: Initializer = "glorot_uniform"
    dropout: Rate = 0.0

    def check_encoder(self, inputs: Shape) -> None:
        _check_grid(inputs, "reads")

    def check_decoder(self, outputs: Shape) -> None:
        _check_grid(outputs, "makes")

    def encoder(self, site: Site) -> "keras.Layer":
        """Returns one convolution of stride 2 per stage → dense → outputs."""
        from keras import layers

        from elboflow.vae.layers.hidden import chain

        (units,) = site.outputs
        return chain(
            site.name,
            site.inputs,
            site.condition,
            [*self._stages(layers.Conv2D, self.channels, site), layers.Flatten(data_format=LAYOUT)],
            [*self._dense(self.dense, site), self._output(layers.Dense, site, units)],
        )

    def decoder(self, site: Site) -> "keras.Layer":
        """Returns dense → the smallest grid → one transposed convolution of stride 2 per stage, cropped to outputs."""
        from keras import layers

        from elboflow.vae.layers.hidden import chain

        height, width, outputs = site.outputs
        factor = 2 ** len(self.channels)
        rows, columns = math.ceil(height / factor), math.ceil(width / factor)
        deepest = self.channels[-1]
        return chain(
            site.name,
            site.inputs,
            site.condition,
            [],
            [
                *self._dense(self.dense, site),
                *self._dense(rows * columns * deepest, site),
                layers.Reshape((rows, columns, deepest)),
                *self._stages(layers.Conv2DTranspose, self.channels[::-1], site),
                layers.Cropping2D(((0, rows * factor - height), (0, columns * factor - width)), data_format=LAYOUT),
                self._output(layers.Conv2D, site, outputs, self.kernel, padding="same", data_format=LAYOUT),
            ],
        )

    def _stages(self, layer: "type[keras.Layer]", channels: list[int], site: Site) -> "list[keras.Layer]":
        """Returns one layer of stride 2 for each number of channels."""
        return [made for filters in channels for made in self._stage(layer, filters, site)]

    def _stage(self, layer: "type[keras.Layer]", filters: int, site: Site) -> "list[keras.Layer]":
        from elboflow.vae.layers.hidden import hidden
        from elboflow.vae.layers.initializers import seeded

        made = layer(
            filters,
            self.kernel,
            strides=2,
            padding="same",
            data_format=LAYOUT,
            activation=self.activation,
            kernel_initializer=seeded(self.initializer, site.seeds),
            dtype=site.policy,
        )
        return hidden(made, self.dropout)

    def _dense(self, units: int, site: Site) -> "list[keras.Layer]":
        from keras import layers

        from elboflow.vae.layers.hidden import hidden
        from elboflow.vae.layers.initializers import seeded

        kernel = seeded(self.initializer, site.seeds)
        return hidden(layers.Dense(units, self.activation, kernel_initializer=kernel, dtype=site.policy), self.dropout)

    def _output(self, layer: "type[keras.Layer]", site: Site, *shape: int, **settings: Any) -> "keras.Layer":
        from elboflow.vae.layers.initializers import seeded

        kernel = seeded(self.initializer, site.seeds)
        return layer(*shape, kernel_initializer=kernel, name=OUTPUT, dtype="float32", **settings)


def _check_grid(shape: Shape, does: str) -> None:
    if len(shape) != 3:
        raise ValueError(f"'convolutional' {does} images, [height, width, channels]; here it would be {list(shape)}")
