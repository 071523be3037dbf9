"""The layers that networks are made of, and the settings that describe them."""

from typing import Annotated, Literal

from pydantic import Field

LAYOUT = "channels_last"
"""Of arrays `[batch, …, channels]`. Keras has a global default, which a user may have changed."""

OUTPUT = "output"
"""The name of the layer that makes a network's outputs: it computes in float32, and is no hidden layer for Muon."""

Activation = Literal["relu", "gelu", "silu", "elu", "leaky_relu", "tanh", "softplus"]
Initializer = Literal[
    "glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "lecun_uniform", "lecun_normal", "orthogonal"
]
Width = Annotated[int, Field(gt=0, le=2**20)]
Rate = Annotated[
    float, Field(ge=0, lt=1, description="probability with which training drops the outputs of hidden layers")
]
