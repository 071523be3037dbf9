"""Optimizers and learning rate schedules."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from elboflow.settings import Settings, by_name, by_name_or
from elboflow.settings.layout import words

Fraction = Annotated[float, Field(ge=0, lt=1)]
FirstMoment = Annotated[Fraction, Field(description="decay rate per step of the average of the gradient")]
SecondMoment = Annotated[Fraction, Field(description="decay rate per step of the average of the squared gradient")]
Epsilon = Annotated[
    PositiveFloat, Field(description="added to the root of the averaged squared gradient, which divides the step")
]
Momentum = Annotated[Fraction, Field(description="the part of the last step that is added to the next one")]
WeightDecay = Annotated[float, Field(ge=0, description="decoupled weight decay, of kernels and not of biases")]


class Adam(Settings):
    """Adam (Kingma and Ba, 2015)."""

    kind: Literal["adam"] = "adam"
    beta_1: FirstMoment = 0.9
    beta_2: SecondMoment = 0.999
    epsilon: Epsilon = 1e-7
    weight_decay: WeightDecay = 0.0


class AdamW(Settings):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019)."""

    kind: Literal["adamw"] = "adamw"
    beta_1: FirstMoment = 0.9
    beta_2: SecondMoment = 0.999
    epsilon: Epsilon = 1e-7
    weight_decay: WeightDecay = 0.004


class SGD(Settings):
    """Stochastic gradient descent, with momentum."""

    kind: Literal["sgd"] = "sgd"
    momentum: Momentum = 0.0
    nesterov: bool = Field(False, description="look ahead by the momentum (Sutskever et al., 2013)")
    weight_decay: WeightDecay = 0.0

    @model_validator(mode="after")
    def _nesterov_has_momentum(self) -> "SGD":
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov: without a momentum above 0 it does nothing")
        return self


class RMSprop(Settings):
    """RMSprop (Tieleman and Hinton, 2012)."""

    kind: Literal["rmsprop"] = "rmsprop"
    rho: SecondMoment = 0.9
    momentum: Momentum = 0.0
    epsilon: Epsilon = 1e-7
    weight_decay: WeightDecay = 0.0


class Lion(Settings):
    """Lion (Chen et al., 2023). It needs a learning rate three to ten times lower than Adam's."""

    kind: Literal["lion"] = "lion"
    beta_1: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.9, description="weight of the momentum, against the gradient, in the direction of a step"
    )
    beta_2: FirstMoment = 0.99
    weight_decay: WeightDecay = 0.0


class Muon(Settings):
    """Muon (Jordan et al., 2024): orthogonalised momentum for the kernels of hidden dense layers, AdamW for the rest.

    The rest is biases, convolutions and the last layers of the networks. Muon's steps are scaled to the size of AdamW's
    (Liu et al., 2025), so that both can use the same learning rate.
    """

    kind: Literal["muon"] = "muon"
    momentum: Momentum = 0.95
    weight_decay: WeightDecay = 0.004


_Optimizer = Adam | AdamW | SGD | RMSprop | Lion | Muon


def _no_rate(value: Any) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ValueError(
            f"{value} is not allowed; must be one of {', '.join(words(_Optimizer))}, or a section with that `kind`; a "
            f"learning rate is written beside it: learning_rate: {value}"
        )
    return by_name(value)


Optimizer = Annotated[_Optimizer, Field(discriminator="kind"), BeforeValidator(_no_rate)]


InitialRate = Annotated[PositiveFloat, Field(description="the learning rate after the warm-up")]
FinalRate = Annotated[float, Field(ge=0, description="the lowest learning rate")]
Warmup = Annotated[NonNegativeInt, Field(description="steps over which the rate grows linearly from 0 to `initial`")]


class Constant(Settings):
    """A constant learning rate after the warm-up."""

    short_form: ClassVar = "initial"
    kind: Literal["constant"] = "constant"
    initial: InitialRate = 1e-3
    warmup_steps: Warmup = 0


class Cosine(Settings):
    """Half a cosine from `initial` to `final` at the last step (Loshchilov and Hutter, 2017)."""

    kind: Literal["cosine"] = "cosine"
    initial: InitialRate = 1e-3
    final: FinalRate = 0.0
    warmup_steps: Warmup = 0


class Exponential(Settings):
    """Exponential decay: continuous, by `factor` in every `every_steps` steps."""

    kind: Literal["exponential"] = "exponential"
    initial: InitialRate = 1e-3
    factor: Annotated[float, Field(gt=0, le=1)] = Field(
        0.5, description="by which the rate is multiplied in every `every_steps` steps"
    )
    every_steps: PositiveInt = Field(1000, description="steps in which the rate falls by `factor`")
    warmup_steps: Warmup = 0


class Stages(Settings):
    """Stage i has the rate `initial` * `factor` ** i for `growth` ** i epochs (Burda et al., 2016, section 5).

    The epochs of the warm-up count as epochs of the first stages.
    """

    kind: Literal["stages"] = "stages"
    initial: InitialRate = 1e-3
    factor: Annotated[float, Field(gt=0, le=1)] = Field(
        10 ** (-1 / 7), description="by which the rate is multiplied from a stage to the next"
    )
    growth: PositiveInt = Field(3, description="how many times as many epochs a stage has as the one before")
    stages: PositiveInt = Field(8, description="the number of stages; the last one lasts as long as the training does")
    warmup_steps: Warmup = 0


class Plateau(Settings):
    """Multiplies the rate by `factor` when the validation ELBO has not risen for `patience` epochs, down to `final`."""

    kind: Literal["plateau"] = "plateau"
    initial: InitialRate = 1e-3
    factor: Annotated[float, Field(gt=0, lt=1)] = Field(0.5, description="by which the rate is multiplied")
    patience: PositiveInt = Field(5, description="epochs without a rise of the validation ELBO before the rate falls")
    minimum_change: Annotated[float, Field(ge=0)] = Field(
        0.0, description="nats by which the validation ELBO must be higher than its best value to count as risen"
    )
    final: FinalRate = 0.0
    warmup_steps: Warmup = 0


LearningRate = Annotated[
    Constant | Cosine | Exponential | Stages | Plateau,
    Field(discriminator="kind"),
    BeforeValidator(by_name_or(Constant)),
]
