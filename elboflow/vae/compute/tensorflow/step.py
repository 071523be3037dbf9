"""A training step on TensorFlow, independent of the number of devices."""

from collections.abc import Callable

import tensorflow as tf

from elboflow.vae.compute import pure_step
from elboflow.vae.compute.pure_step import Found, State
from elboflow.vae.compute.tensorflow import noise
from elboflow.vae.compute.tensorflow.stateless import make_stateless
from elboflow.vae.compute.training_step import TrainingStep, Turn

Arrays = dict[str, tf.Tensor]
Gradients = Callable[[Turn, State, Arrays, list[tf.Tensor], tf.Tensor], Found]
"""Loss, measures and gradients of a turn, given the state, examples by name, their noise and the step number."""


class TensorFlowStep(pure_step.PureStep):
    """A step with its gradients and its noise.

    Args:
        step: The computation of a step. The constructor builds its optimizers.
        seed: The seed of the noise, together with the step number.

    Attributes:
        turns: The turns of the players, in order.
        found: Returns the mean loss, measures and gradients over examples.
    """

    def __init__(self, step: TrainingStep, seed: int) -> None:
        for turn in step.turns:
            make_stateless(turn.optimizer)
        super().__init__(step)
        self._seed, self.turns = seed, step.turns
        parts = step.micro_batches
        self.found: Gradients = self._found if parts == 1 else _accumulated(self._found, parts)

    def read(self) -> State:
        """Returns the values of the variables."""
        return [tf.convert_to_tensor(variable.value) for variable in self.variables]

    def write(self, state: State) -> None:
        """Sets the variables."""
        for variable, value in zip(self.variables, state, strict=True):
            variable.value.assign(value)

    def drawn(self, number: tf.Tensor, first: tf.Tensor | int, count: int) -> list[tf.Tensor]:
        """Returns the numbers of the step's draws for `count` examples of the whole batch, from `first` on."""
        return noise.drawn(self._step.draws, self._seed, number, first, count)

    def _found(self, turn: Turn, state: State, batch: Arrays, drawn: list[tf.Tensor], number: tf.Tensor) -> Found:
        weights = self.values_of(state, turn.player.variables)
        with tf.GradientTape(watch_accessed_variables=False) as tape, self.scope(state) as scope:
            tape.watch(weights)
            losses = turn.player.loss(batch, self._step.noise(drawn), number)
            loss, measures = self._step.means(turn, batch, losses)
            scaled = turn.scaled(loss)
            kept = [tf.convert_to_tensor(scope.get_current_value(variable)) for variable in self._step.model.state]
        return loss, measures, tape.gradient(scaled, weights), kept


def _accumulated(found: Gradients, parts: int) -> Gradients:
    """Returns `found` averaged over parts of a batch, which are computed one after the other."""

    def mean(turn: Turn, state: State, batch: Arrays, drawn: list[tf.Tensor], number: tf.Tensor) -> Found:
        batches = tf.nest.map_structure(lambda b: tf.reshape(b, (parts, -1, *b.shape[1:])), (batch, drawn))

        def part(place: tf.Tensor | int) -> Found:
            some, numbers = tf.nest.map_structure(lambda b: b[place], batches)
            return found(turn, state, some, numbers, number)

        def body(i: tf.Tensor, sums: Found) -> tuple[tf.Tensor, Found]:
            return i + 1, tf.nest.map_structure(tf.add, sums, part(i))

        _, sums = tf.while_loop(lambda i, _: i < parts, body, (tf.constant(1), part(0)))
        return tf.nest.map_structure(lambda value: value / parts, sums)

    return mean
