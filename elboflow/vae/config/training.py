"""The section `training` of an experiment: optimisation, backend and devices."""

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from elboflow.settings import RequestError, Settings, by_name
from elboflow.settings.explain import ConflictsError, Problem
from elboflow.settings.locations import allowing
from elboflow.settings.text import counted
from elboflow.vae.config.devices import GPU, Device, Parallel, Precision
from elboflow.vae.config.optimisation import Adam, Cosine, Fraction, LearningRate, Optimizer


class EMA(Settings):
    """An exponential moving average of the weights, which is validated, evaluated and saved as the model.

    Keras's average starts with the weights after the first step, without bias correction. So it lags behind in
    trainings shorter than a few times 1 / (1 - decay) steps.
    """

    short_form: ClassVar = "decay"
    decay: Fraction = Field(0.999, description="of the average, per step: near 1, it reaches further back")


class EarlyStopping(Settings):
    """Stops when the validation ELBO has not risen by `minimum_change` nats for `patience` epochs."""

    short_form: ClassVar = "patience"
    patience: PositiveInt = Field(10, description="epochs without a rise of the validation ELBO before the end")
    minimum_change: Annotated[float, Field(ge=0)] = Field(
        0.0, description="nats by which the validation ELBO must be higher than its best value to count as risen"
    )


class Stop(Settings):
    """A non-finite loss or gradient ends the training."""

    kind: Literal["stop"] = "stop"


class Skip(Settings):
    """A step with a non-finite loss or gradient changes no variable, and is counted."""

    main: ClassVar = "limit"
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

    main: ClassVar = "every_minutes"
    every_minutes: PositiveFloat | None = Field(
        1.0, description="minutes of training between two checkpoints; null: only every `every_steps`"
    )
    every_steps: PositiveInt | None = Field(
        None, description="steps between two checkpoints; null: only every `every_minutes`"
    )
    keep: PositiveInt = Field(2, description="how many of the latest checkpoints stay")
    folder: Annotated[str, allowing("gs")] | None = Field(
        None, description="a folder that outlives the machine, for all trainings; null: beside the model"
    )


class TrainingConfig(Settings):
    """The settings of a training: optimisation, backend and devices."""

    backend: Literal["tensorflow", "jax", "torch"] = Field("tensorflow", description="the framework under Keras")
    device: Device = Field(
        "auto", description="what computes; auto: a TPU if there is one, else GPUs, else the processors"
    )
    gpu: GPU = Field(GPU(), description="which GPUs are used, and how much of their memory")
    precision: Precision = Field(
        "float32",
        description="the type in which networks compute; densities, KL, weights and the optimizer's state are float32 "
        "always",
    )
    parallel: Parallel | None = Field(
        None, description="how several devices share the training; null: one device is used"
    )
    epochs: PositiveInt = Field(50, description="the most passes over the train split")
    max_steps: PositiveInt | None = Field(None, description="ends the training, and its schedule, at this step")
    max_minutes: PositiveFloat | None = Field(
        None, description="ends the training after this time, resumptions included"
    )
    batch_size: PositiveInt = Field(128, description="examples of one step, over all devices and machines")
    micro_batches: PositiveInt = Field(
        1, description="parts in which a batch is computed, their gradients summed: less memory, the same result"
    )
    memory_megabytes: PositiveInt = Field(
        1024, description="10^6 bytes of examples that a device holds at a time; a larger split is streamed in chunks"
    )
    optimizer: Optimizer = Field(Adam(), description="how a gradient changes the weights")
    learning_rate: LearningRate = Field(
        Cosine(initial=1e-3, warmup_steps=200), description="the size of a step, as a function of the step's number"
    )
    gradient_clip: PositiveFloat | None = Field(100.0, description="largest global norm of the gradient; null: none")
    gradient_clip_value: PositiveFloat | None = Field(None, description="largest absolute element of the gradient")
    ema: EMA | None = Field(
        None, description="the average of the weights, which then is the model; null: the weights themselves are"
    )
    weights: str | None = Field(None, description="the number feature that weighs the loss of each example, relatively")
    balance: Balance | None = Field(
        None, description="weights of examples by the rarity of their class; null: all weigh the same"
    )
    non_finite: NonFinite = Field(Stop(), description="what a loss or gradient that is NaN or infinite does")
    early_stopping: EarlyStopping | None = Field(
        EarlyStopping(), description="when the training ends before its last epoch; null: it does not"
    )
    checkpoints: Checkpoints = Field(Checkpoints(), description="how often the training is saved, and where")
    tensorboard: bool = Field(False, description="write TensorBoard's event files beside the model, too")

    @model_validator(mode="after")
    def _divisible(self) -> "TrainingConfig":
        if self.batch_size % self.micro_batches:
            sentence = (
                f"{self.micro_batches} is not allowed: a batch of {self.batch_size} has no such parts of one size"
            )
            raise ConflictsError([Problem(("micro_batches",), sentence)])
        return self

    def check_examples(self, examples: int) -> None:
        """Checks that a train split has enough examples for a batch.

        Raises:
            RequestError: It has not.
        """
        if examples < self.batch_size:
            raise RequestError(
                f"training.batch_size is {self.batch_size}; the train split holds {counted(examples, 'example')}, "
                "and a batch can be no larger"
            )
