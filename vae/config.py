"""The sections `model`, `training` and `evaluation` of an experiment. Importing this imports no framework."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, NonNegativeInt, PositiveFloat, PositiveInt

from settings import Settings, by_name

Activation = Literal["relu", "gelu", "silu", "elu", "leaky_relu", "tanh", "softplus"]
Width = Annotated[int, Field(ge=1)]


class MLP(Settings):
    """Fully connected layers, for small images and everything without a grid."""

    kind: Literal["mlp"] = "mlp"
    hidden: list[Width] = Field([256, 256], description="units of each hidden layer, from the input to the output")
    activation: Activation = "relu"


class Convolutional(Settings):
    """Convolutions that halve the grid at every stage, then one dense layer; the decoder is its mirror image."""

    kind: Literal["convolutional"] = "convolutional"
    channels: list[Width] = Field(
        [32, 64], min_length=1, description="filters of each stage, each half the size of the last"
    )
    kernel: PositiveInt = 3
    dense: PositiveInt = Field(256, description="units between the grid and the latent")
    activation: Activation = "relu"


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
    latent: PositiveInt = Field(16, description="dimensions of the latent variable")
    encoder: Network = MLP()
    decoder: Network = MLP()
    prior: Prior = StandardNormal()
    posterior: Posterior = DiagonalGaussian()
    likelihood: Likelihood = Bernoulli()
    objective: Objective = ELBO()


class Constant(Settings):
    """The same learning rate throughout, after the warm-up."""

    kind: Literal["constant"] = "constant"
    initial: PositiveFloat = 1e-3
    warmup_steps: NonNegativeInt = 0


class Cosine(Settings):
    """Half a cosine from `initial` down to `final` at the last step (Loshchilov and Hutter, 2017)."""

    kind: Literal["cosine"] = "cosine"
    initial: PositiveFloat = 1e-3
    final: Annotated[float, Field(ge=0)] = 0.0
    warmup_steps: NonNegativeInt = 0


class Exponential(Settings):
    """Multiplied by `factor` every `every_steps` steps, continuously."""

    kind: Literal["exponential"] = "exponential"
    initial: PositiveFloat = 1e-3
    factor: Annotated[float, Field(gt=0, le=1)] = 0.5
    every_steps: PositiveInt = 1000
    warmup_steps: NonNegativeInt = 0


LearningRate = Annotated[Constant | Cosine | Exponential, Field(discriminator="kind"), BeforeValidator(by_name)]


class EarlyStopping(Settings):
    """Stop when the validation ELBO has not risen by `minimum_change` nats for `patience` epochs."""

    patience: PositiveInt = 10
    minimum_change: Annotated[float, Field(ge=0)] = 0.0


class TrainingConfig(Settings):
    """How the model is trained, and on which framework."""

    backend: Literal["tensorflow", "jax", "torch"] = "tensorflow"
    epochs: PositiveInt = 50
    batch_size: PositiveInt = 128
    learning_rate: LearningRate = Cosine(initial=1e-3, warmup_steps=200)
    gradient_clip: PositiveFloat | None = Field(100.0, description="largest global norm of the gradient; null: none")
    early_stopping: EarlyStopping | None = EarlyStopping()


class EvaluationConfig(Settings):
    """How the trained model is judged on the test split."""

    bound_samples: Annotated[int, Field(ge=1, le=100_000)] = Field(
        500, description="k, the samples of the importance-weighted bound"
    )
    bootstrap_samples: Annotated[int, Field(ge=100)] = Field(2000, description="resamples behind each 95 % interval")
    batch_size: PositiveInt = Field(100, description="test examples per compiled call")
