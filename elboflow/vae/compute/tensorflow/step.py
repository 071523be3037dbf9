"""A training step as pure TensorFlow functions of tensors, which read and assign no variables.

`State` has the values of all variables that a step changes: weights, variables of the optimizers, and the state of the
model. A loop passes it from step to step, on one device or on several.
"""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf
from keras.src.optimizers.base_optimizer import BaseOptimizer  # not in Keras's public API

from elboflow.vae.compute.threefry import bits
from elboflow.vae.compute.training_step import TrainingStep, Turn

State = list[tf.Tensor]
Batch = dict[str, tf.Tensor]
Measures = dict[str, tf.Tensor]
Found = tuple[tf.Tensor, Measures, list[tf.Tensor], list[tf.Tensor]]
"""Loss, measures, gradients, and new values of the variables that change without a gradient."""


class PureStep:
    """The part of a step that is independent of the number of devices.

    Args:
        step: The computation of a step. The constructor builds its optimizers.
        seed: The seed of the noise, together with the step number.
    """

    def __init__(self, step: TrainingStep, seed: int) -> None:
        self._step, self._seed = step, seed
        for turn in step.turns:
            _make_stateless(turn.optimizer)
            turn.optimizer.build(list(turn.player.variables))
        self._variables = step.variables
        self._places = {id(variable): place for place, variable in enumerate(self._variables)}

    @property
    def turns(self) -> tuple[Turn, ...]:
        """The turns of the players, in order."""
        return self._step.turns

    def read(self) -> State:
        """Returns the values of the variables."""
        return [tf.convert_to_tensor(variable.value) for variable in self._variables]

    def write(self, state: State) -> None:
        """Sets the variables."""
        for variable, value in zip(self._variables, state, strict=True):
            variable.value.assign(value)

    def found(self, turn: Turn, state: State, batch: Batch, number: tf.Tensor, first: tf.Tensor | int = 0) -> Found:
        """Returns the mean loss, measures and gradients over a batch, or over consecutive examples of a batch.

        Args:
            turn: The turn of the player.
            state: The state before the turn.
            batch: Features and weights by name, `[examples, …]`.
            number: The step number, from 0.
            first: The index of the first example in the whole batch.
        """
        drawn = self._drawn(number, first, next(iter(batch.values())).shape[0])
        parts = self._step.micro_batches
        if parts == 1:
            return self._compute(turn, state, batch, drawn, number)
        batches = tf.nest.map_structure(lambda b: tf.reshape(b, (parts, -1, *b.shape[1:])), (batch, drawn))

        def part(place: tf.Tensor | int) -> Found:
            some, drawn = tf.nest.map_structure(lambda b: b[place], batches)
            return self._compute(turn, state, some, drawn, number)

        def body(i: tf.Tensor, sums: Found) -> tuple[tf.Tensor, Found]:
            return i + 1, tf.nest.map_structure(tf.add, sums, part(i))

        _, sums = tf.while_loop(lambda i, _: i < parts, body, (tf.constant(1), part(0)))
        return tf.nest.map_structure(lambda value: value / parts, sums)

    def applied(
        self, turn: Turn, state: State, found: Found, number: tf.Tensor, factor: tf.Tensor
    ) -> tuple[State, Measures]:
        """Returns the state after the turn of a player, and the measures.

        Args:
            turn: The turn of the player.
            state: The state before the turn.
            found: The means over the whole batch.
            number: The step number, from 0.
            factor: The factor of the schedule's learning rate.
        """
        loss, measures, gradients, kept = found
        optimizer = turn.optimizer
        state = self._replaced(state, [optimizer.learning_rate], [self._step.rate(number, factor)])
        with self._scope(state):
            size = turn.norm(gradients)
            finite = tf.math.is_finite(loss) & tf.math.is_finite(size)
            gradients = self._step.clipped(turn, gradients, finite)

        def updated() -> State:
            weights, slots = optimizer.stateless_apply(
                self._values_of(state, optimizer.variables), gradients, self._values_of(state, turn.player.variables)
            )
            changed = [*turn.player.variables, *optimizer.variables, *self._step.model.state]
            return self._replaced(state, changed, [*weights, *slots, *kept])

        may_skip = self._step.skips_non_finite and not turn.skips
        state = tf.cond(finite, updated, lambda: state) if may_skip else updated()
        skipped = tf.cast(~finite, tf.float32) if self._step.skips_non_finite else tf.zeros(())
        return state, {**measures, **self._step.measured(turn, loss, size, skipped)}

    def _compute(self, turn: Turn, state: State, batch: Batch, drawn: list[tf.Tensor], number: tf.Tensor) -> Found:
        weights = self._values_of(state, turn.player.variables)
        with tf.GradientTape(watch_accessed_variables=False) as tape, self._scope(state) as scope:
            tape.watch(weights)
            loss, measures = self._step.loss(turn, batch, drawn, number)
            scaled = turn.scaled(loss)
            kept = [tf.convert_to_tensor(scope.get_current_value(variable)) for variable in self._step.model.state]
        return loss, measures, tape.gradient(scaled, weights), kept

    def _scope(self, state: State) -> keras.StatelessScope:
        """A scope in which the variables of model and optimizers have these values."""
        return keras.StatelessScope(state_mapping=list(zip(self._variables, state, strict=True)))

    def _values_of(self, state: State, variables: Sequence[keras.Variable]) -> list[tf.Tensor]:
        return [state[self._places[id(variable)]] for variable in variables]

    def _replaced(self, state: State, variables: Sequence[keras.Variable], values: Sequence[tf.Tensor]) -> State:
        """Returns the state with new values for some variables."""
        changed = list(state)
        for variable, value in zip(variables, values, strict=True):
            changed[self._places[id(variable)]] = value
        return changed

    def _drawn(self, number: tf.Tensor, first: tf.Tensor | int, count: int) -> list[tf.Tensor]:
        """Returns the random numbers of consecutive examples of a batch, independent of the division into parts."""
        key = tf.constant(self._seed, tf.uint32), tf.cast(number, tf.uint32)
        draws = enumerate(self._step.draws)
        return [_DRAWN[draw.kind](bits(key, place, (count, *draw.of_example), first)) for place, draw in draws]


def _uniform(random: tf.Tensor) -> tf.Tensor:
    """Returns numbers in [0, 1): 23 bits are the mantissa of a number in [1, 2)."""
    mantissa = tf.bitwise.right_shift(random, tf.constant(9, tf.uint32))
    return tf.bitcast(tf.bitwise.bitwise_or(mantissa, tf.constant(0x3F800000, tf.uint32)), tf.float32) - 1


def _normal(random: tf.Tensor) -> tf.Tensor:
    low = np.nextafter(np.float32(-1), np.float32(0))  # the inverse of the error function is infinite at -1
    return np.float32(np.sqrt(2)) * tf.math.erfinv(tf.maximum(low, 2 * _uniform(random) - 1))


_DRAWN = {"uniform": _uniform, "normal": _normal}


class _Stateless:
    """The optimizer methods of Keras's other backends, in place of the TensorFlow versions for `tf.distribute`.

    The TensorFlow versions need variables, and sum the gradients of replicas that each have been clipped already.
    """

    assign = BaseOptimizer.assign
    assign_add = BaseOptimizer.assign_add
    assign_sub = BaseOptimizer.assign_sub
    stateless_apply = BaseOptimizer.stateless_apply
    _apply_weight_decay = BaseOptimizer._apply_weight_decay
    _backend_update_step = BaseOptimizer._backend_update_step
    _var_key = BaseOptimizer._var_key


def _make_stateless(optimizer: keras.optimizers.Optimizer) -> None:
    """Gives `optimizer`, before it is built, a `stateless_apply`."""
    updates = getattr(optimizer, "inner_optimizer", optimizer)  # LossScaleOptimizer delegates to its inner optimizer
    updates.__class__ = type(type(updates).__name__, (_Stateless, type(updates)), {})
