"""Optimizers and learning rate schedules."""

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from elboflow.settings import Settings, by_name, by_name_or

Fraction = Annotated[float, Field(ge=0, lt=1)]
WeightDecay = Annotated[float, Field(ge=0, description="decoupled weight decay, of kernels and not of biases")]


class Adam(Settings):
    """Adam (Kingma and Ba, 2015)."""

    kind: Literal["adam"] = "adam"
    beta_1: Fraction = 0.9
    beta_2: Fraction = 0.999
    epsilon: PositiveFloat = 1e-7
    weight_decay: WeightDecay = 0.0


class AdamW(Settings):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019)."""

    kind: Literal["adamw"] = "adamw"
    beta_1: Fraction = 0.9
    beta_2: Fraction = 0.999
    epsilon: PositiveFloat = 1e-7
    weight_decay: WeightDecay = 0.004


class SGD(Settings):
    """Stochastic gradient descent, with momentum."""

    kind: Literal["sgd"] = "sgd"
    momentum: Fraction = 0.0
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
    rho: Fraction = 0.9
    momentum: Fraction = 0.0
    epsilon: PositiveFloat = 1e-7
    weight_decay: WeightDecay = 0.0


class Lion(Settings):
    """Lion (Chen et al., 2023). It needs a learning rate three to ten times lower than Adam's."""

    kind: Literal["lion"] = "lion"
    beta_1: Annotated[float, Field(gt=0, lt=1)] = 0.9
    beta_2: Fraction = 0.99
    weight_decay: WeightDecay = 0.0


class Muon(Settings):
    """Muon (Jordan et al., 2024): orthogonalised momentum for the kernels of hidden dense layers, AdamW for the rest.

    The rest is biases, convolutions and the last layers of the networks. Muon's steps are scaled to the size of AdamW's
    (Liu et al., 2025), so that both can use the same learning rate.
    """

    kind: Literal["muon"] = "muon"
    momentum: Fraction = 0.95
    weight_decay: WeightDecay = 0.004


Optimizer = Annotated[Adam | AdamW | SGD | RMSprop | Lion | Muon, Field(discriminator="kind"), BeforeValidator(by_name)]


class Constant(Settings):
    """A constant learning rate after the warm-up."""

    short_form: ClassVar = "initial"
    kind: Literal["constant"] = "constant"
    initial: PositiveFloat = 1e-3
    warmup_steps: NonNegativeInt = 0


class Cosine(Settings):
    """Half a cosine from `initial` to `final` at the last step (Loshchilov and Hutter, 2017)."""

    kind: Literal["cosine"] = "cosine"
    initial: PositiveFloat = 1e-3
    final: Annotated[float, Field(ge=0)] = 0.0
    warmup_steps: NonNegativeInt = 0


class Exponential(Settings):
    """Exponential decay: continuous, by `factor` in every `every_steps` steps."""

    kind: Literal["exponential"] = "exponential"
    initial: PositiveFloat = 1e-3
    factor: Annotated[float, Field(gt=0, le=1)] = 0.5
    every_steps: PositiveInt = 1000
    warmup_steps: NonNegativeInt = 0


class Stages(Settings):
    """Stage i has the rate `initial` * `factor` ** i for `growth` ** i epochs (Burda et al., 2016, section 5).

    The epochs of the warm-up count as epochs of the first stages.
    """

    kind: Literal["stages"] = "stages"
    initial: PositiveFloat = 1e-3
    factor: Annotated[float, Field(gt=0, le=1)] = 10 ** (-1 / 7)
    growth: PositiveInt = 3
    stages: PositiveInt = Field(8, description="the last one lasts as long as the training does")
    warmup_steps: NonNegativeInt = 0


class Plateau(Settings):
    """Multiplies the rate by `factor` when the validation ELBO has not risen for `patience` epochs, down to `final`."""

    kind: Literal["plateau"] = "plateau"
    initial: PositiveFloat = 1e-3
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.5
    patience: PositiveInt = 5
    minimum_change: Annotated[float, Field(ge=0)] = 0.0
    final: Annotated[float, Field(ge=0)] = 0.0
    warmup_steps: NonNegativeInt = 0


LearningRate = Annotated[
    Constant | Cosine | Exponential | Stages | Plateau,
    Field(discriminator="kind"),
    BeforeValidator(by_name_or(Constant)),
]
