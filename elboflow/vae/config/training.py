"""The section `training` of an experiment: optimisation, backend and devices."""

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from elboflow.settings import Settings, by_name
from elboflow.settings.explain import ConflictsError, Problem
from elboflow.settings.locations import allowing
from elboflow.vae.config.devices import GPU, Device, Parallel, Precision
from elboflow.vae.config.optimisation import Adam, Cosine, Fraction, LearningRate, Optimizer


class EMA(Settings):
    """An exponential moving average of the weights, which is validated, evaluated and saved as the model.

    Keras's average starts with the weights after the first step, without bias correction. So it lags behind in
    trainings shorter than a few times 1 / (1 - decay) steps.
    """

    short_form: ClassVar = "decay"
    decay: Fraction = 0.999


class EarlyStopping(Settings):
    """Stops when the validation ELBO has not risen by `minimum_change` nats for `patience` epochs."""

    short_form: ClassVar = "patience"
    patience: PositiveInt = 10
    minimum_change: Annotated[float, Field(ge=0)] = 0.0


class Stop(Settings):
    """A non-finite loss or gradient ends the training."""

    kind: Literal["stop"] = "stop"


class Skip(Settings):
    """A step with a non-finite loss or gradient changes no variable, and is counted."""

    kind: Literal["skip"] = "skip"
    limit: NonNegativeInt = Field(100, description="steps that may be skipped in all; one more ends the training")


NonFinite = Annotated[Stop | Skip, Field(discriminator="kind"), BeforeValidator(by_name)]


class Balance(Settings):
    """Weights the loss of each example by the rarity of its class. Reported bounds are unweighted.

    The weight of an example is (N / (K n)) ** strength, scaled to mean 1, for N examples, K classes, and n examples in
    its class.
    """

    short_form: ClassVar = "feature"
    feature: str = Field("label", description="the category whose classes are balanced")
    strength: Annotated[float, Field(gt=0, le=1)] = Field(1.0, description="1: all classes weigh the same")


class Checkpoints(Settings):
    """The interval, the number and the folder of checkpoints."""

    every_minutes: PositiveFloat | None = Field(1.0, description="null: only every `every_steps`")
    every_steps: PositiveInt | None = None
    keep: PositiveInt = Field(2, description="the last good checkpoints that stay")
    folder: Annotated[str, allowing("gs")] | None = Field(
        None, description="a folder that outlives the machine, for all trainings; null: beside the model"
    )


class TrainingConfig(Settings):
    """The settings of a training: optimisation, backend and devices."""

    backend: Literal["tensorflow", "jax", "torch"] = "tensorflow"
    device: Device = Field("auto", description="auto: a TPU if there is one, else GPUs, else the processors")
    gpu: GPU = GPU()
    precision: Precision = Field(
        "float32", description="of the networks; densities, KL, weights and the optimizer's state are float32 always"
    )
    parallel: Parallel | None = Field(None, description="null: one device; data, or model, over several")
    epochs: PositiveInt = 50
    max_steps: PositiveInt | None = Field(None, description="ends the training, and its schedule, at this step")
    max_minutes: PositiveFloat | None = Field(None, description="ends it after this time, resumptions included")
    batch_size: PositiveInt = Field(128, description="examples of one step, over all devices and machines")
    micro_batches: PositiveInt = Field(
        1, description="parts in which a batch is computed, their gradients summed: less memory, the same result"
    )
    memory_megabytes: PositiveInt = Field(
        1024, description="10^6 bytes of examples that a device holds at a time; a larger split is streamed in chunks"
    )
    optimizer: Optimizer = Adam()
    learning_rate: LearningRate = Cosine(initial=1e-3, warmup_steps=200)
    gradient_clip: PositiveFloat | None = Field(100.0, description="largest global norm of the gradient; null: none")
    gradient_clip_value: PositiveFloat | None = Field(None, description="largest absolute element of the gradient")
    ema: EMA | None = None
    weights: str | None = Field(None, description="the number feature that weighs the loss of each example, relatively")
    balance: Balance | None = None
    non_finite: NonFinite = Stop()
    early_stopping: EarlyStopping | None = EarlyStopping()
    checkpoints: Checkpoints = Checkpoints()
    tensorboard: bool = Field(False, description="write TensorBoard's event files beside the model, too")

    @model_validator(mode="after")
    def _divisible(self) -> "TrainingConfig":
        if self.batch_size % self.micro_batches:
            sentence = (
                f"{self.micro_batches} is not allowed: a batch of {self.batch_size} has no such parts of one size"
            )
            raise ConflictsError([Problem(("micro_batches",), sentence)])
        return self
