"""A training step as TensorFlow functions of tensors: they read and assign no variables.

What a step changes is its `State`: the values of all weights, then of all of the optimizer's variables. A loop carries
it from step to step, on one device or on several.
"""

import keras
import numpy as np
import tensorflow as tf
from keras.src.optimizers.base_optimizer import BaseOptimizer  # Keras exports it for no backend

from elboflow.vae.backends.threefry import bits
from elboflow.vae.training.step import TrainingStep

State = list[tf.Tensor]
Batch = tuple[tf.Tensor, ...]
Found = tuple[tf.Tensor, tuple[tf.Tensor, ...], list[tf.Tensor]]
"""Loss, terms of the bound and gradients."""


class PureStep:
    """One step, up to who computes which part of the batch.

    Args:
        step: What the step computes. Its optimizer is built here.
        seed: Fixes all noise, with the step's number.
    """

    def __init__(self, step: TrainingStep, seed: int) -> None:
        self._step, self._optimizer, self._seed = step, step.optimizer, seed
        _make_stateless(self._optimizer)
        weights = step.model.trainable_variables
        self._optimizer.build(weights)
        self._variables, self._weights = [*weights, *self._optimizer.variables], len(weights)
        rate = self._optimizer.learning_rate
        self._rate = next(place for place, variable in enumerate(self._variables) if variable is rate)

    def read(self) -> State:
        """Returns the values of the variables."""
        return [tf.convert_to_tensor(variable.value) for variable in self._variables]

    def write(self, state: State) -> None:
        """Sets the variables."""
        for variable, value in zip(self._variables, state, strict=True):
            variable.value.assign(value)

    def weights_of(self, state: State) -> list[tf.Tensor]:
        """Returns the weights among the state, which have gradients."""
        return state[: self._weights]

    def found(
        self, state: State, codes: tf.Tensor, weights: tf.Tensor, number: tf.Tensor, first: tf.Tensor | int = 0
    ) -> Found:
        """Returns loss, terms and gradients of a batch, or of consecutive examples of it: means over them.

        Args:
            state: Before the step.
            codes: Of the images, `[examples, height, width, channels]`.
            weights: What each example counts, `[examples]`.
            number: The step's number, from 0.
            first: The place of the first of the examples in the batch.
        """
        batch = (codes, weights, *self._drawn(number, first, codes.shape[0]))
        parts = self._step.micro_batches
        if parts == 1:
            return self._compute(state, batch, number)
        batches = tf.nest.map_structure(lambda b: tf.reshape(b, (parts, -1, *b.shape[1:])), batch)

        def part(place: tf.Tensor | int) -> Found:
            return self._compute(state, tf.nest.map_structure(lambda b: b[place], batches), number)

        def body(i: tf.Tensor, sums: Found) -> tuple[tf.Tensor, Found]:
            return i + 1, tf.nest.map_structure(tf.add, sums, part(i))

        _, sums = tf.while_loop(lambda i, _: i < parts, body, (tf.constant(1), part(0)))
        return tf.nest.map_structure(lambda value: value / parts, sums)

    def applied(self, state: State, found: Found, number: tf.Tensor, factor: tf.Tensor) -> tuple[State, tf.Tensor]:
        """Returns the state after the step, and its measures.

        Args:
            state: Before the step.
            found: The means over the whole batch.
            number: The step's number, from 0.
            factor: What the schedule's learning rate is multiplied by.
        """
        loss, terms, gradients = found
        state = [*state[: self._rate], self._step.rate(number, factor), *state[self._rate + 1 :]]
        with self._scope(state):
            size = self._step.norm(gradients)
            finite = tf.math.is_finite(loss) & tf.math.is_finite(size)
            gradients = self._step.clipped(gradients, finite)

        def updated() -> State:
            weights, slots = self._optimizer.stateless_apply(state[self._weights :], gradients, self.weights_of(state))
            return [*weights, *slots]

        if self._step.skips_non_finite and not self._step.optimizer_skips:
            state = tf.cond(finite, updated, lambda: state)
        else:
            state = updated()
        skipped = tf.cast(~finite, tf.float32) if self._step.skips_non_finite else 0.0
        return state, tf.stack([loss, *terms, size, skipped])

    def _compute(self, state: State, batch: Batch, number: tf.Tensor) -> Found:
        codes, weights, *drawn = batch
        with tf.GradientTape(watch_accessed_variables=False) as tape, self._scope(state):
            tape.watch(self.weights_of(state))
            loss, terms = self._step.loss(codes, weights, tuple(drawn), number)
            scaled = self._step.scaled(loss)
        return loss, terms, tape.gradient(scaled, self.weights_of(state))

    def _scope(self, state: State) -> keras.StatelessScope:
        """Lets Keras see these values as those of the model's and the optimizer's variables."""
        return keras.StatelessScope(state_mapping=list(zip(self._variables, state, strict=True)))

    def _drawn(self, number: tf.Tensor, first: tf.Tensor | int, count: int) -> list[tf.Tensor]:
        """Returns the numbers of consecutive examples of a batch: the same for any division into parts."""
        key = tf.constant(self._seed, tf.uint32), tf.cast(number, tf.uint32)
        draws = enumerate(self._step.draws)
        return [_DRAWN[draw.kind](bits(key, place, (count, *draw.shape[1:]), first)) for place, draw in draws]


def _uniform(random: tf.Tensor) -> tf.Tensor:
    """Returns numbers in [0, 1): 23 bits are the mantissa of a number in [1, 2)."""
    mantissa = tf.bitwise.right_shift(random, tf.constant(9, tf.uint32))
    return tf.bitcast(tf.bitwise.bitwise_or(mantissa, tf.constant(0x3F800000, tf.uint32)), tf.float32) - 1


def _normal(random: tf.Tensor) -> tf.Tensor:
    low = np.nextafter(np.float32(-1), np.float32(0))  # the inverse of the error function is infinite at -1
    return np.float32(np.sqrt(2)) * tf.math.erfinv(tf.maximum(low, 2 * _uniform(random) - 1))


_DRAWN = {"uniform": _uniform, "normal": _normal}


class _Stateless:
    """The methods that Keras overrides for TensorFlow, to fit `tf.distribute`'s variables, as other backends run them.

    Keras's own on TensorFlow need variables, and sum the gradients of several replicas after each has clipped its own.
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
    updates = getattr(optimizer, "inner_optimizer", optimizer)  # a LossScaleOptimizer has its own, which calls this one
    updates.__class__ = type(type(updates).__name__, (_Stateless, type(updates)), {})
