"""Gated recurrent units over sequences (Cho et al., 2014). The decoder reads z and all previous symbols."""

import math
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from elboflow.artifacts.spec import Shape
from elboflow.vae.layers import OUTPUT, Initializer, Width
from elboflow.vae.networks import Network, Site

if TYPE_CHECKING:
    import keras


class Recurrent(Network):
    """A GRU. The decoder is autoregressive, and trained by teacher forcing (Bowman et al., 2016)."""

    is_autoregressive: ClassVar[bool] = True

    main: ClassVar = "units"
    kind: Literal["recurrent"] = "recurrent"
    units: Width = Field(128, description="units of the recurrent state")
    initializer: Initializer = "glorot_uniform"

    def check_encoder(self, inputs: Shape) -> None:
        _check_sequence(inputs, "reads")

    def check_decoder(self, outputs: Shape) -> None:
        _check_sequence(outputs, "makes")

    def encoder(self, site: Site) -> "keras.Layer":
        """Returns GRU over the sequence → outputs. Positions with only zeros are after the end, and are masked."""
        from keras import layers

        from elboflow.vae.layers.hidden import chain

        return chain(
            site.name,
            site.inputs,
            site.condition,
            [layers.Masking(), self._gru(site, False)],
            [self._output(site, math.prod(site.outputs))],
        )

    def decoder(self, site: Site) -> "keras.Layer":
        """Returns z → initial state; z and the previous symbol → GRU → outputs at each position."""
        import keras
        from keras import layers

        from elboflow.vae.layers.initializers import seeded

        assert site.context is not None
        positions, outputs = site.outputs
        z, previous = keras.Input(site.inputs), keras.Input(site.context)
        kernel = seeded(self.initializer, site.seeds)
        state = layers.Dense(self.units, "tanh", kernel_initializer=kernel, dtype=site.policy)(z)
        steps = layers.Concatenate()([previous, layers.RepeatVector(positions)(z)])
        values = self._gru(site, True)(steps, initial_state=state)
        return keras.Model([z, previous], self._output(site, outputs)(values), name=site.name)

    def _gru(self, site: Site, every: bool) -> "keras.Layer":
        import keras
        from keras import layers

        from elboflow.vae.layers.initializers import seeded

        return layers.GRU(
            self.units,
            return_sequences=every,
            # With TensorFlow on GPUs, Keras would use cuDNN, which XLA cannot compile.
            use_cudnn=False if keras.backend.backend() == "tensorflow" else "auto",
            kernel_initializer=seeded(self.initializer, site.seeds),
            recurrent_initializer=seeded("orthogonal", site.seeds),
            dtype=site.policy,
        )

    def _output(self, site: Site, units: int) -> "keras.Layer":
        from keras import layers

        from elboflow.vae.layers.initializers import seeded

        return layers.Dense(
            units, kernel_initializer=seeded(self.initializer, site.seeds), name=OUTPUT, dtype="float32"
        )


def _check_sequence(shape: Shape, does: str) -> None:
    if len(shape) != 2:
        raise ValueError(f"'recurrent' {does} sequences, [positions, symbols]; here it would be {list(shape)}")
