"""A training step as pure functions of tensors, which read and assign no variables: for TensorFlow and JAX.

`State` has the values of all variables that a step changes: weights, variables of the optimizers, and the state of the
model. A loop passes it from step to step, on one device or on several.
"""

from collections.abc import Sequence
from typing import TypeAlias

import keras
from keras import ops

from elboflow.vae.compute.training_step import TrainingStep, Turn
from elboflow.vae.terms import Tensor

State: TypeAlias = list[Tensor]
Found: TypeAlias = tuple[Tensor, dict[str, Tensor], list[Tensor], list[Tensor]]
"""Loss, measures, gradients, and new values of the variables that change without a gradient."""


class PureStep:
    """The part of a step that is independent of the backend and of the number of devices.

    Args:
        step: The computation of a step. The constructor builds its optimizers.

    Attributes:
        variables: The variables whose values are a state, in its order.
    """

    def __init__(self, step: TrainingStep) -> None:
        self._step = step
        for turn in step.turns:
            turn.optimizer.build(list(turn.player.variables))
        self.variables = step.variables
        self._places = {id(variable): place for place, variable in enumerate(self.variables)}

    def scope(self, state: State) -> keras.StatelessScope:
        """Returns a scope in which the variables of model and optimizers have these values."""
        return keras.StatelessScope(state_mapping=list(zip(self.variables, state, strict=True)))

    def values_of(self, state: State, variables: Sequence[keras.Variable]) -> list[Tensor]:
        """Returns the values of some variables."""
        return [state[self._places[id(variable)]] for variable in variables]

    def replaced(self, state: State, variables: Sequence[keras.Variable], values: Sequence[Tensor]) -> State:
        """Returns the state with new values for some variables."""
        changed = list(state)
        for variable, value in zip(variables, values, strict=True):
            changed[self._places[id(variable)]] = value
        return changed

    def applied(
        self, turn: Turn, state: State, found: Found, number: Tensor, factor: Tensor
    ) -> tuple[State, dict[str, Tensor]]:
        """Returns the state after the turn of a player, and the measures.

        Args:
            turn: The turn of the player.
            state: The state before the turn.
            found: The means over the whole batch.
            number: The step number, from 0.
            factor: The factor of the schedule's learning rate.
        """
        loss, measures, gradients, kept = found
        optimizer, player = turn.optimizer, turn.player
        state = self.replaced(state, [optimizer.learning_rate], [self._step.rate(number, factor)])
        with self.scope(state):
            size = turn.norm(gradients)
            finite = ops.isfinite(loss) & ops.isfinite(size)
            gradients = self._step.clipped(turn, gradients, finite)

        def updated() -> State:
            weights, slots = optimizer.stateless_apply(
                self.values_of(state, optimizer.variables), gradients, self.values_of(state, player.variables)
            )
            changed = [*player.variables, *optimizer.variables, *self._step.model.state]
            return self.replaced(state, changed, [*weights, *slots, *kept])

        may_skip = self._step.skips_non_finite and not turn.skips
        state = ops.cond(finite, updated, lambda: state) if may_skip else updated()
        skipped = ops.cast(~finite, "float32") if self._step.skips_non_finite else ops.zeros(())
        return state, {**measures, **self._step.measured(turn, loss, size, skipped)}
