"""The interface of a model: its settings, the features that it reads, and its computations."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from elboflow.settings.kinds import Kind
from elboflow.vae.data import Examples
from elboflow.vae.likelihoods import Likelihood
from elboflow.vae.objectives import Objective
from elboflow.vae.terms import Batch, Draw, Loss, Noise, Specs, Tensor, Terms

if TYPE_CHECKING:
    import keras


Input = Annotated[str | list[str], Field(description="the feature that the model models, or a list of features")]


@dataclass(frozen=True)
class Player:
    """A part of a model with its own optimizer: the whole model for a VAE, the generator or the discriminator of a GAN.

    Attributes:
        name: The prefix of the player's measures, if a model has several players.
        variables: The variables that the optimizer updates.
        loss: The loss as a function of the batch, the noise (`Model.training_draws`) and the step number.
    """

    name: str
    variables: "Sequence[keras.Variable]"
    loss: Callable[[Batch, Noise, Tensor], Loss]

    @classmethod
    def whole(cls, model: "Model", objective: Objective) -> "Player":
        """Returns the player that trains all variables of a model with an objective, as for a VAE."""

        def loss(batch: Batch, noise: Noise, step: Tensor) -> Loss:
            terms = model.terms(batch, noise)
            found = objective(terms, step)
            return Loss(found.total, {**terms.measures, **found.measures})

        return cls("", [weight for part in model.parts.values() for weight in part.trainable_variables], loss)


class Model(ABC):
    """A generative model, with the computations of training and inference. Random numbers are always an argument.

    The variables of a model belong to its parts: Keras layers by name, which a `.keras` file stores.

    Attributes:
        config: The settings of the model.
        specs: The specs of the features that the model reads, by name.
        likelihood: p(x|z) over the features that the model generates.
        given: The names of the features that the model is conditioned on; empty for an unconditional model.
        loops_are_slow: Whether on a CPU one program with many training steps is slower than a program for each step.
        programs: The compiled programs of the model, by name (`elboflow.vae.compute.program`).
    """

    config: "ModelConfig"
    specs: Specs
    likelihood: Likelihood
    given: tuple[str, ...] = ()
    loops_are_slow: bool = False

    @cached_property
    def programs(self) -> dict[str, Callable[..., Any]]:
        """The cache of compiled programs, empty at first."""
        return {}

    @property
    @abstractmethod
    def parts(self) -> "Mapping[str, keras.Layer]":
        """The layers with the model's variables, by name."""

    @property
    @abstractmethod
    def players(self) -> tuple[Player, ...]:
        """The players that train the model: one for a VAE."""

    @property
    def state(self) -> "Sequence[keras.Variable]":
        """Variables that a training step changes without a gradient, such as the averages of a codebook; float32.

        A loss must read the old value (`variable.value`) before it assigns a new one, because TensorFlow and PyTorch
        assign in place.
        """
        return [variable for part in self.parts.values() for variable in part.non_trainable_weights]

    @property
    @abstractmethod
    def training_draws(self) -> tuple[Draw, ...]:
        """The draws of the players' losses."""

    @abstractmethod
    def draws(self, samples: int) -> tuple[Draw, ...]:
        """Returns the draws of `terms` for `samples` samples of each example."""

    @abstractmethod
    def terms(self, batch: Batch, noise: Noise) -> Terms:
        """Returns the terms of the bound of each example."""

    @abstractmethod
    def encode(self, batch: Batch, noise: Noise) -> tuple[Tensor, ...]:
        """Returns the mean of q(z|x) for each layer of latents, given the means of the layers above, `[batch, units]`.

        Args:
            batch: The examples.
            noise: The draws of `terms` that all samples share.
        """

    @property
    @abstractmethod
    def prior_draws(self) -> tuple[Draw, ...]:
        """The draws of `from_prior`."""

    @property
    def decoding_draws(self) -> tuple[Draw, ...]:
        """The draws of `decode` for values x ~ p(x|z); none for features that are shown as means, such as images."""
        return ()

    @abstractmethod
    def from_prior(self, noise: Noise, batch: Batch) -> tuple[Tensor, ...]:
        """Returns z ~ p(z) of each layer of latents, from the top down, `[batch, units]`.

        Args:
            noise: The draws of `prior_draws`.
            batch: The features that the model is conditioned on.
        """

    @abstractmethod
    def decode(self, latents: tuple[Tensor, ...], batch: Batch, noise: Noise) -> Batch:
        """Returns the values of each feature given all latents, `[batch, …]`.

        Args:
            latents: The latents of each layer, from the top down, `[batch, units]`.
            batch: The features that the model is conditioned on.
            noise: The draws of `decoding_draws`, for samples x ~ p(x|z); if empty, the expected or most probable
                values are returned.
        """

    @property
    def outputs(self) -> int:
        """The number of decoder outputs for one z, which determines the memory of a compiled call."""
        return math.prod(self.likelihood.outputs)

    @property
    def examples_to_start(self) -> int:
        """The number of training examples that `start` needs; 0 if the initial weights do not depend on the data."""
        return 0

    def start(self, examples: Examples) -> None:
        """Sets initial values that depend on training examples, given `examples_to_start` examples."""
        return


class ModelConfig(Kind):
    """The section `model` of an experiment. A kind of model is one file of `families`.

    Attributes:
        input: The name or names of the features that the model generates.
    """

    group, folder, usual = "elboflow.models", "elboflow.vae.families", "flat"

    input: Input

    @property
    def features(self) -> tuple[str, ...]:
        """The names of the features that the model generates."""
        return (self.input,) if isinstance(self.input, str) else tuple(self.input)

    @property
    def reads(self) -> tuple[str, ...]:
        """The names of the features that the model reads: those that it generates or is conditioned on."""
        return self.features

    @abstractmethod
    def check(self, specs: Specs) -> None:
        """Checks that a model with these settings can be built, without importing Keras.

        Args:
            specs: The specs of the features that the model reads.

        Raises:
            ConflictsError: Settings do not fit the features or each other; with the key of each setting.
        """

    @abstractmethod
    def outcome_space(self, specs: Specs) -> str:
        """Returns a description of the outcomes to which the model assigns probabilities.

        Two bounds are comparable only if their models have the same outcome space.
        """

    @abstractmethod
    def build(self, specs: Specs, seed: int = 0, policy: str = "float32") -> Model:
        """Returns a model for these features.

        Args:
            specs: The specs of the features that the model reads.
            seed: The seed of the initial weights.
            policy: The dtype policy of hidden layers: float32, mixed_bfloat16 or mixed_float16.

        Raises:
            RequestError: The settings do not fit the features, or the output of a network has a wrong shape.
        """


def variables(model: Model) -> "list[keras.Variable]":
    """Returns all variables of a model, part by part.

    Not `layer.variables`, which also contains the seeds of Keras's layers: they are no weights, and no draw uses them.
    """
    return [variable for part in model.parts.values() for variable in part.weights]
