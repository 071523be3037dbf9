"""The backend-independent part of a training step: functions that each backend compiles."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from elboflow.settings import RequestError
from elboflow.vae import ops
from elboflow.vae.curves import NO_MEASURES
from elboflow.vae.model import Model, Player
from elboflow.vae.terms import WEIGHT, Batch, Draw, Loss, Noise, Tensor, samples_first

if TYPE_CHECKING:
    import keras

LOSS, GRADIENT_NORM, SKIPPED = "loss", "gradient_norm", "skipped"
"""The names of the measures of every step, in addition to the measures of the model and the objective."""

Rate = Callable[[Tensor, Tensor], Tensor]
"""The learning rate as a function of the step number, from 0, and of a factor."""


@dataclass(frozen=True)
class Turn:
    """The update of one player in a step.

    Attributes:
        player: The player.
        optimizer: The optimizer. Its learning rate is a variable, set at every step.
        prefix: The prefix of the player's measures.
    """

    player: Player
    optimizer: "keras.optimizers.Optimizer"
    prefix: str = ""

    @property
    def skips(self) -> bool:
        """Whether the optimizer itself skips non-finite gradients, and then reduces its loss scale.

        Such an optimizer must get the gradients of every step, also of steps that the backend would skip.
        """
        from keras.optimizers import LossScaleOptimizer

        return isinstance(self.optimizer, LossScaleOptimizer)

    def scaled(self, loss: Tensor) -> Tensor:
        """Returns the loss to differentiate: with float16 a multiple of it, so that gradients do not underflow."""
        return self.optimizer.scale_loss(loss)

    def norm(self, gradients: list[Tensor]) -> Tensor:
        """Returns the global norm of the loss gradient, given the gradients of the scaled loss."""
        squares = sum(ops.sum(ops.square(gradient)) for gradient in gradients)
        return ops.sqrt(squares) / self.optimizer.scale_loss(1.0)


@dataclass(frozen=True)
class TrainingStep:
    """The computation of a step, as functions that each backend compiles.

    Attributes:
        model: The model.
        turns: The updates of the players, in order.
        rate: The learning rate.
        batch_size: The examples of a step, over all devices.
        micro_batches: The number of parts into which a device splits its batch, for gradient accumulation.
        clip_value: The largest absolute element of the gradient, or None.
        skips_non_finite: Whether a step with a non-finite loss or gradient leaves weights and optimizer unchanged.
    """

    model: Model
    turns: tuple[Turn, ...]
    rate: Rate
    batch_size: int
    micro_batches: int = 1
    clip_value: float | None = None
    skips_non_finite: bool = False

    @cached_property
    def draws(self) -> tuple[Draw, ...]:
        """The draws of a step for each example. The numbers are a function of (seed, step, index of the draw)."""
        return self.model.training_draws

    @property
    def variables(self) -> "list[keras.Variable]":
        """All variables that a step changes: of the players, of their optimizers, and the state of the model."""
        weights = [variable for turn in self.turns for variable in turn.player.variables]
        slots = [variable for turn in self.turns for variable in turn.optimizer.variables]
        return [*weights, *slots, *self.model.state]

    def noise(self, drawn: Sequence[Tensor]) -> Noise:
        """Returns the numbers of `draws`, `[examples, samples, …]` or `[examples, …]`, as a loss takes them."""
        return samples_first(self.draws, {draw.name: found for draw, found in zip(self.draws, drawn, strict=True)})

    def means(self, turn: Turn, batch: Batch, loss: Loss) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns the weighted mean loss of a batch, or of a part of a batch, and the unweighted means of the measures.

        Args:
            turn: The turn of the player.
            batch: Features and `WEIGHT` by name, `[examples, …]`.
            loss: The player's loss of these examples.

        Raises:
            RequestError: A measure has a name that training itself uses.
        """
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
        """Returns gradients with elements clipped by value. The optimizer clips by norm.

        Args:
            turn: The turn of the player.
            gradients: The gradients of the scaled loss.
            finite: Whether the loss and the gradient norm are finite. If not, the result for an optimizer that skips
                steps itself is NaN, so that it does skip the step.
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
    """Clips the elements of a gradient to ± `limit`. Non-finite elements stay non-finite, so that they are noticed."""
    return ops.where(ops.isfinite(gradient), ops.clip(gradient, -limit, limit), gradient)
