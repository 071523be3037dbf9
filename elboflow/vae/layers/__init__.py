"""The layers of networks, and types of their settings."""

from typing import Annotated, Literal

from pydantic import Field

LAYOUT = "channels_last"
"""The layout `[batch, …, channels]`, given explicitly because a user may have changed Keras's global default."""

OUTPUT = "output"
"""The name of a network's output layer. It computes in float32, and Muon excludes it."""

Activation = Annotated[
    Literal["relu", "gelu", "silu", "elu", "leaky_relu", "tanh", "softplus"],
    Field(description="the nonlinearity of hidden layers"),
]
Initializer = Annotated[
    Literal[
        "glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "lecun_uniform", "lecun_normal", "orthogonal"
    ],
    Field(description="the distribution of initial weights"),
]
Width = Annotated[int, Field(gt=0, le=2**20)]
Rate = Annotated[
    float, Field(ge=0, lt=1, description="probability with which training drops the outputs of hidden layers")
]
