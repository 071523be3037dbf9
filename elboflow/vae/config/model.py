"""The section `model` of an experiment: what the model is."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, NonNegativeInt, PositiveFloat

from elboflow.settings import Settings, by_name

Activation = Literal["relu", "gelu", "silu", "elu", "leaky_relu", "tanh", "softplus"]
Initializer = Literal[
    "glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "lecun_uniform", "lecun_normal", "orthogonal"
]
Width = Annotated[int, Field(gt=0, le=2**20)]
Dropout = Annotated[
    float, Field(ge=0, lt=1, description="probability with which training drops the outputs of hidden layers")
]


class MLP(Settings):
    """Fully connected layers, for small images and everything without a grid."""

    kind: Literal["mlp"] = "mlp"
    hidden: list[Width] = Field([256, 256], description="units of each hidden layer, from the input to the output")
    activation: Activation = "relu"
    initializer: Initializer = "glorot_uniform"
    dropout: Dropout = 0.0


class Convolutional(Settings):
    """Convolutions that halve the grid at every stage, then one dense layer; the decoder is its mirror image."""

    kind: Literal["convolutional"] = "convolutional"
    channels: list[Width] = Field(
        [32, 64], min_length=1, description="filters of each stage, each half the size of the last"
    )
    kernel: Annotated[int, Field(gt=0, le=1000)] = 3
    dense: Width = Field(256, description="units between the grid and the latent")
    activation: Activation = "relu"
    initializer: Initializer = "glorot_uniform"
    dropout: Dropout = 0.0


Network = Annotated[MLP | Convolutional, Field(discriminator="kind"), BeforeValidator(by_name)]


class StandardNormal(Settings):
    """p(z) = N(0, I)."""

    kind: Literal["standard_normal"] = "standard_normal"


class DiagonalGaussian(Settings):
    """q(z|x) = N(mean(x), diag(variance(x)))."""

    kind: Literal["diagonal_gaussian"] = "diagonal_gaussian"


class Bernoulli(Settings):
    """Independent Bernoulli pixels, for binary images; how other images become binary is `binarize`."""

    kind: Literal["bernoulli"] = "bernoulli"
    binarize: Literal["dynamic", "threshold", "none"] = Field(
        "dynamic",
        description="dynamic: a pixel is 1 with probability equal to its intensity, drawn anew each epoch in training "
        "and fixed by (seed, example) in evaluation; threshold: 1 from half intensity on; none: the data are binary",
    )


class Gaussian(Settings):
    """Independent Gaussians on the uniformly dequantised intensity: a density, comparable in bits per dimension."""

    kind: Literal["gaussian"] = "gaussian"
    scale: Literal["learned"] | PositiveFloat = Field(
        "learned",
        description="standard deviation in units of the full range, or `learned`: an output of the decoder per pixel",
    )


class Categorical(Settings):
    """A free distribution over the levels of each pixel: one logit per level."""

    kind: Literal["categorical"] = "categorical"


class DiscretizedLogistic(Settings):
    """A logistic distribution integrated over each level of each pixel."""

    kind: Literal["discretized_logistic"] = "discretized_logistic"


Prior = Annotated[StandardNormal, BeforeValidator(by_name)]
Posterior = Annotated[DiagonalGaussian, BeforeValidator(by_name)]
Likelihood = Annotated[
    Bernoulli | Gaussian | Categorical | DiscretizedLogistic, Field(discriminator="kind"), BeforeValidator(by_name)
]


class ELBO(Settings):
    """The negative evidence lower bound."""

    kind: Literal["elbo"] = "elbo"


class Beta(Settings):
    """The ELBO with its KL term weighted by beta, reached linearly after `warmup_steps`."""

    kind: Literal["beta"] = "beta"
    beta: PositiveFloat = 4.0
    warmup_steps: NonNegativeInt = Field(0, description="steps over which the weight grows from 0 to beta")


Objective = Annotated[ELBO | Beta, Field(discriminator="kind"), BeforeValidator(by_name)]


class ModelConfig(Settings):
    """What the model is: a choice of networks, prior, posterior, likelihood and objective."""

    input: str = Field("image", description="the feature that the model models")
    latent: Width = Field(16, description="dimensions of the latent variable")
    encoder: Network = MLP()
    decoder: Network = MLP()
    prior: Prior = StandardNormal()
    posterior: Posterior = DiagonalGaussian()
    likelihood: Likelihood = Bernoulli()
    objective: Objective = ELBO()
    output_bias: Literal["zeros", "mean"] = Field(
        "zeros",
        description="initial bias of the decoder's outputs; mean: such that it starts at the mean of (up to 10,000) "
        "training examples: sooner good (on MNIST 9 nats after an epoch, 1.2 after ten), with fewer active units in "
        "the end (on digits 4 instead of 9 to 12, at the same ELBO)",
    )
