"""What a model is: its settings, the features that it reads, and what it computes."""

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
    """A part of a model that an optimizer of its own trains: the whole of a VAE, one half of a GAN.

    Attributes:
        name: Precedes the names of its measures, where a model has several players.
        variables: What the optimizer changes.
        loss: The loss as a function of batch, noise (`Model.training_draws`) and the step's number.
    """

    name: str
    variables: "Sequence[keras.Variable]"
    loss: Callable[[Batch, Noise, Tensor], Loss]

    @classmethod
    def whole(cls, model: "Model", objective: Objective) -> "Player":
        """Returns the player that trains a whole model with an objective of its terms, as a VAE's does."""

        def loss(batch: Batch, noise: Noise, step: Tensor) -> Loss:
            terms = model.terms(batch, noise)
            found = objective(terms, step)
            return Loss(found.total, {**terms.measures, **found.measures})

        return cls("", [weight for part in model.parts.values() for weight in part.trainable_variables], loss)


class Model(ABC):
    """A generative model, and how it is trained and asked. It holds no randomness: noise comes in as an argument.

    Its variables are those of its parts: Keras layers by name, which a `.keras` file stores.

    Attributes:
        config: The settings that it was built from.
        specs: Of the features that it reads, by name.
        likelihood: p(x|z), of the features that it models.
        given: The features that it is conditioned on, by name; none of an unconditional model.
        loops_are_slow: Whether many training steps in one program take longer on a processor than one after the other.
        programs: What has been compiled for it, by name (`elboflow.vae.compute.program`).
    """

    config: "ModelConfig"
    specs: Specs
    likelihood: Likelihood
    given: tuple[str, ...] = ()
    loops_are_slow: bool = False

    @cached_property
    def programs(self) -> dict[str, Callable[..., Any]]:
        """Nothing, at first."""
        return {}

    @property
    @abstractmethod
    def parts(self) -> "Mapping[str, keras.Layer]":
        """The layers that hold its variables, by name."""

    @property
    @abstractmethod
    def players(self) -> tuple[Player, ...]:
        """Who trains what: one for a VAE."""

    @property
    def state(self) -> "Sequence[keras.Variable]":
        """Variables that a training step changes without a gradient, such as a codebook's averages; float32.

        A loss that assigns one takes its old value first, as `variable.value`: TensorFlow and PyTorch assign in place.
        """
        return [variable for part in self.parts.values() for variable in part.non_trainable_weights]

    @property
    @abstractmethod
    def training_draws(self) -> tuple[Draw, ...]:
        """What the losses of the players draw."""

    @abstractmethod
    def draws(self, samples: int) -> tuple[Draw, ...]:
        """Returns what `terms` draws for so many samples of each example."""

    @abstractmethod
    def terms(self, batch: Batch, noise: Noise) -> Terms:
        """Returns the terms of the bound of each example."""

    @abstractmethod
    def encode(self, batch: Batch, noise: Noise) -> tuple[Tensor, ...]:
        """Returns the mean of q(z|x) of each layer of latents, given the means of those above, `[batch, units]`.

        Args:
            batch: Examples.
            noise: Those draws of `terms` that samples share.
        """

    @property
    @abstractmethod
    def prior_draws(self) -> tuple[Draw, ...]:
        """What `from_prior` draws."""

    @property
    def decoding_draws(self) -> tuple[Draw, ...]:
        """What `decode` draws for values that depend on each other, such as the symbols of a text."""
        return ()

    @abstractmethod
    def from_prior(self, noise: Noise, batch: Batch) -> tuple[Tensor, ...]:
        """Returns z ~ p(z) of each layer of latents, from the top down, `[batch, units]`.

        Args:
            noise: What `prior_draws` lists.
            batch: The features that it is conditioned on.
        """

    @abstractmethod
    def decode(self, latents: tuple[Tensor, ...], batch: Batch, noise: Noise) -> Batch:
        """Returns values of each feature given all latents, `[batch, …]`.

        Args:
            latents: Of each layer, from the top down, `[batch, units]`.
            batch: The features that it is conditioned on.
            noise: What `decoding_draws` lists; empty: the most probable values are chosen. Features whose values are
                independent given z have their expected values in both cases.
        """

    @property
    def outputs(self) -> int:
        """Numbers that the decoder makes of one z: what bounds the memory of a compiled call."""
        return math.prod(self.likelihood.outputs)

    @property
    def examples_to_start(self) -> int:
        """How many training examples `start` wants to see; 0 where nothing depends on them."""
        return 0

    def start(self, examples: Examples) -> None:
        """Sets what begins at a function of training examples, of which it wants `examples_to_start`."""
        return


class ModelConfig(Kind):
    """The section `model` of an experiment: what the model is. One kind of model is one file of `families`.

    Attributes:
        input: The features that it models.
    """

    group, folder, usual = "elboflow.models", "elboflow.vae.families", "flat"

    input: Input

    @property
    def features(self) -> tuple[str, ...]:
        """The features that it models, by name."""
        return (self.input,) if isinstance(self.input, str) else tuple(self.input)

    @property
    def reads(self) -> tuple[str, ...]:
        """The features that it reads, by name: those that it models, and those that it is conditioned on."""
        return self.features

    def check(self, specs: Specs) -> None:
        """Looks whether a model of these settings can be built, without importing Keras.

        Args:
            specs: Of the features that it reads.

        Raises:
            ConflictsError: It cannot; with the key of each setting that does not fit.
        """
        raise NotImplementedError

    def outcome_space(self, specs: Specs) -> str:
        """Returns of what it gives probabilities: two bounds are comparable only over the same one."""
        raise NotImplementedError

    def build(self, specs: Specs, seed: int = 0, policy: str = "float32") -> Model:
        """Returns a model of these features.

        Args:
            specs: Of the features that it reads.
            seed: Fixes the initial weights.
            policy: The dtype policy of hidden layers: float32, mixed_bfloat16 or mixed_float16.

        Raises:
            RequestError: It cannot be built of these features, or a network does not make what it needs.
        """
        raise NotImplementedError


def variables(model: Model) -> "list[keras.Variable]":
    """Returns all variables of a model, part by part.

    (Keras's layers hold seeds besides, `layer.variables`, which are no weights: nothing here draws with them.)
    """
    return [variable for part in model.parts.values() for variable in part.weights]
