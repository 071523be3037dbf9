"""What a backend is, and what it is given: one training step, up to what each framework must do for itself."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from elboflow.settings import RequestError
from elboflow.vae import ops
from elboflow.vae.compute.cluster import Cluster
from elboflow.vae.config import TrainingConfig
from elboflow.vae.curves import NO_MEASURES
from elboflow.vae.data import Examples, Source
from elboflow.vae.model import Model, ModelConfig, Player
from elboflow.vae.terms import WEIGHT, Batch, Draw, Specs, Tensor, samples_first

if TYPE_CHECKING:
    import keras

LOSS, GRADIENT_NORM, SKIPPED = "loss", "gradient_norm", "skipped"
"""The measures that every step has, besides those of the model and the objective."""

Rate = Callable[[Tensor, Tensor], Tensor]
"""The learning rate as a function of the step's number, from 0, and of a factor."""

Measures = Mapping[str, np.ndarray]
"""Of consecutive steps, by name, float32 `[steps]` each."""


@dataclass(frozen=True)
class Profile:
    """What is to be profiled.

    Attributes:
        steps: How many steps; those after the first compiled call, in which nothing is compiled any more.
        folder: Where the profile goes.
    """

    steps: int
    folder: Path


@dataclass(frozen=True)
class Job:
    """One training, as each of its processes does it.

    Attributes:
        source: The examples to learn from.
        validation: The examples that decide which epoch is the best, and when to stop.
        specs: Of the features that the model reads.
        model: The model's settings.
        training: The training's settings.
        seed: Fixes initial weights, order and noise.
        checkpoints: The folder of the checkpoints; where there is one, training goes on from it.
        identity: What this training is a function of, as JSON values; a checkpoint of another identity is refused.
        restart: Whether to start over instead. The old checkpoints are moved aside.
        profile: How many steps are to be profiled, if any, and where that is written.
    """

    source: Source
    validation: Source
    specs: Specs
    model: ModelConfig
    training: TrainingConfig
    seed: int
    checkpoints: Path
    identity: dict[str, Any]
    restart: bool = False
    profile: Profile | None = None


@dataclass(frozen=True)
class Turn:
    """What one player does in a step.

    Attributes:
        player: The player.
        optimizer: Its learning rate is a variable, which is set at every step.
        prefix: Precedes the names of its measures.
    """

    player: Player
    optimizer: "keras.optimizers.Optimizer"
    prefix: str = ""

    @property
    def skips(self) -> bool:
        """Whether the optimizer itself does nothing with gradients that are not finite, but scale the loss by less.

        A backend that skips steps hands it all of them, then.
        """
        from keras.optimizers import LossScaleOptimizer

        return isinstance(self.optimizer, LossScaleOptimizer)

    def scaled(self, loss: Tensor) -> Tensor:
        """Returns what is differentiated: with float16 a multiple of the loss, lest small gradients vanish."""
        return self.optimizer.scale_loss(loss)

    def norm(self, gradients: list[Tensor]) -> Tensor:
        """Returns the global norm of the gradient of the loss, given those of the scaled loss."""
        squares = sum(ops.sum(ops.square(gradient)) for gradient in gradients)
        return ops.sqrt(squares) / self.optimizer.scale_loss(1.0)


@dataclass(frozen=True)
class TrainingStep:
    """What a step computes, as functions that each backend compiles.

    Attributes:
        model: The model that is trained.
        turns: What its players do, one after the other.
        rate: The learning rate.
        batch_size: Examples of a step, over all devices.
        micro_batches: Parts in which a device computes its batch, one after the other.
        clip_value: Largest absolute element of the gradient, or None.
        skips_non_finite: Whether a step whose loss or gradient is not finite leaves weights and optimizer as they were.
    """

    model: Model
    turns: tuple[Turn, ...]
    rate: Rate
    batch_size: int
    micro_batches: int = 1
    clip_value: float | None = None
    skips_non_finite: bool = False

    @property
    def draws(self) -> tuple[Draw, ...]:
        """What a step draws for each example: a function of (seed, step, place among the draws)."""
        return self.model.training_draws

    @property
    def variables(self) -> "list[keras.Variable]":
        """All variables that a step changes: the players' weights, the optimizers' own, the model's state."""
        weights = [variable for turn in self.turns for variable in turn.player.variables]
        slots = [variable for turn in self.turns for variable in turn.optimizer.variables]
        return [*weights, *slots, *self.model.state]

    def loss(
        self, turn: Turn, batch: Batch, drawn: Sequence[Tensor], number: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns the weighted mean loss of a batch, or of a part of it, and unweighted means of the measures.

        Args:
            turn: Whose loss.
            batch: Features and `WEIGHT` by name, `[batch, …]`.
            drawn: The numbers of `draws` for these examples, `[batch, samples, …]` or `[batch, …]`.
            number: The step's number, from 0.

        Raises:
            RequestError: A measure has a name that a training itself gives.
        """
        numbers = {draw.name: found for draw, found in zip(self.draws, drawn, strict=True)}
        noise = samples_first(self.draws, numbers)
        loss = turn.player.loss(batch, noise, number)
        self._check_names(turn, loss.measures)
        measures = {turn.prefix + name: ops.mean(values) for name, values in loss.measures.items()}
        return ops.mean(batch[WEIGHT] * loss.total), measures

    def _check_names(self, turn: Turn, names: Iterable[str]) -> None:
        own = {each.prefix + name for each in self.turns for name in (LOSS, GRADIENT_NORM, SKIPPED)} | NO_MEASURES
        if wrong := sorted(name for name in names if turn.prefix + name in own):
            raise RequestError(
                f"model: it has a measure '{turn.prefix}{wrong[0]}', which is a name of what every training measures; "
                f"allowed is every name but {', '.join(sorted(own))}"
            )

    def clipped(self, turn: Turn, gradients: list[Tensor], finite: Tensor) -> list[Tensor]:
        """Returns the gradients of the scaled loss, cut element by element; the optimizer clips their norm.

        Args:
            turn: Whose gradients.
            gradients: Of the scaled loss.
            finite: Whether the loss and the norm of its gradient are finite; if not, an optimizer that skips such steps
                is shown gradients that are not finite, either.
        """
        if turn.skips:
            gradients = [ops.where(finite, gradient, float("nan")) for gradient in gradients]
        if self.clip_value is not None:
            limit = turn.optimizer.scale_loss(self.clip_value)
            gradients = [_clipped_by_value(gradient, limit) for gradient in gradients]
        return gradients

    def measured(self, turn: Turn, loss: Tensor, norm: Tensor, skipped: Tensor) -> dict[str, Tensor]:
        """Returns the measures that every player has."""
        return {turn.prefix + LOSS: loss, turn.prefix + GRADIENT_NORM: norm, turn.prefix + SKIPPED: skipped}


def _clipped_by_value(gradient: Tensor, limit: Tensor) -> Tensor:
    """Cuts the elements of a gradient to ± `limit`. Those that are not finite stay so, to be noticed."""
    return ops.where(ops.isfinite(gradient), ops.clip(gradient, -limit, limit), gradient)


class Steps(Protocol):
    """Runs many training steps in one call."""

    def to_device(self, examples: Examples, capacity: int) -> Any:
        """Copies examples to the devices. Pads to a fixed capacity, so that the step compiles once.

        Returns at once where the framework copies in the background.
        """

    def __call__(self, on_device: Any, rows: np.ndarray, first_step: int, count: int, factor: float) -> Measures:
        """Updates model and optimizers; returns the measures of each step.

        Args:
            on_device: What `to_device` returned.
            rows: The examples of each step, int32 `[capacity, batch]`, of which the first `count` are used. One
                capacity compiles once, for any count. The batch is this process's part.
            first_step: Number of the first step, from 0 at the start of training; with the seed it fixes all noise.
            count: Number of steps.
            factor: What the schedule's learning rate is multiplied by.
        """


class Backend(Protocol):
    """What a module `NAME/backend.py` has: all that differs between backends once Keras is imported."""

    def compiled(self, model: Model, function: Callable[..., Any]) -> Callable[..., Any]:
        """Compiles a function of arrays that uses the model; its weights are read at each call.

        Args:
            model: The model whose weights the function uses.
            function: Takes trees of tensors (dictionaries, tuples) whose first axis is the batch's, and returns such a
                tree.

        Returns:
            A function that takes and returns trees of NumPy arrays.
        """

    def training(self, step: TrainingStep, seed: int) -> Steps:
        """Returns what runs training steps on the devices that were chosen.

        Args:
            step: What a step computes. Its optimizers are built here.
            seed: Fixes all noise, with the step's number.
        """

    def together(self, job: Job, cluster: Cluster | None, worker: str) -> AbstractContextManager[Cluster | None]:
        """Surrounds a training with the processes that do it, and yields them; None where this one is alone.

        Args:
            job: The training, for processes that are started here, one for each further device of this machine.
            cluster: The machines that train together, if they are several, with one process each.
            worker: The module that such a process runs.

        Raises:
            WorkError: The others did not come, or one of them is gone.
        """

    def scope(self) -> AbstractContextManager[None]:
        """Surrounds the making of all that computes a training, and its work, so that it lies on its devices."""

    def agreed(self, numbers: np.ndarray) -> np.ndarray:
        """Returns the largest of each number over all processes, which all call this at the same point.

        Args:
            numbers: Those of this process, float64, of any shape.

        Raises:
            WorkError: One of the processes is gone.
        """

    def values(self, variables: "Sequence[keras.Variable]") -> list[np.ndarray]:
        """Copies variables to the host; those that are divided over devices, whole."""

    def on_processors(self) -> bool:
        """Returns whether this process computes on processors (CPUs), and not on accelerators."""

    def memory(self) -> int | None:
        """Returns the bytes in use on the first device of this process; None where it does not tell."""

    def profiled(self, folder: Path) -> AbstractContextManager[None]:
        """Writes a profile of what runs in the block into a folder."""
