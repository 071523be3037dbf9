"""TensorFlow: one XLA program runs a loop of training steps, with data and variables on the device."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from vae.backends import Steps, filled
from vae.backends.cluster import Cluster
from vae.data import Examples
from vae.training.step import MEASURES, TrainingStep

# Left to itself, XLA on a CPU spends two thirds of a small model's step on random numbers; threefry takes a tenth.
GENERATOR = "threefry"

Held = tuple[tf.Tensor, tf.Tensor]


def compiled(model: keras.Model, function: Callable[..., Any]) -> Callable[..., Any]:
    program = tf.function(function, jit_compile=True)

    def call(*arrays: np.ndarray) -> Any:
        return tf.nest.map_structure(lambda tensor: tensor.numpy(), program(*map(tf.convert_to_tensor, arrays)))

    return call


def training(step: TrainingStep, seed: int) -> Steps:
    return _Steps(step, seed)


def memory() -> int | None:
    """Returns the bytes in use on the first GPU; None where there is none."""
    if not tf.config.list_physical_devices("GPU"):
        return None
    return tf.config.experimental.get_memory_info("GPU:0")["current"]


def agreed(numbers: np.ndarray) -> np.ndarray:
    """Returns the largest of each number over all processes."""
    return numbers


def values(variables: Sequence[keras.Variable]) -> list[np.ndarray]:
    """Copies variables to the host."""
    return [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]


@contextmanager
def together(arguments: dict[str, Any], cluster: Cluster | None) -> Iterator[Cluster | None]:
    """Yields the processes that train together, those that it starts itself for the devices of this machine among them.

    Args:
        arguments: Of `vae.training.train`, for such processes.
        cluster: The machines that train together, if they are several.
    """
    yield cluster


@contextmanager
def scope() -> Iterator[None]:
    """Surrounds the making of all that computes a training, and its work."""
    yield


@contextmanager
def profiled(folder: Path) -> Iterator[None]:
    """Writes a profile of what runs meanwhile."""
    with tf.profiler.experimental.Profile(str(folder)):
        yield


class _Steps:
    def __init__(self, step: TrainingStep, seed: int) -> None:
        self._step, self._optimizer = step, step.optimizer
        self._variables = step.model.trainable_variables
        self._optimizer.build(self._variables)
        self._seed = seed
        self._program = tf.function(self._run, jit_compile=True)

    def hold(self, examples: Examples, capacity: int) -> Held:
        images, weights = filled(examples, capacity)
        return tf.constant(images), tf.constant(weights)

    def __call__(self, held: Held, rows: np.ndarray, first_step: int, count: int, factor: float) -> np.ndarray:
        numbers = tf.constant(first_step), tf.constant(count), tf.constant(factor, tf.float32)
        return self._program(*held, tf.constant(rows), *numbers).numpy()[:count]

    def _run(
        self,
        images: tf.Tensor,
        weights: tf.Tensor,
        rows: tf.Tensor,
        first_step: tf.Tensor,
        count: tf.Tensor,
        factor: tf.Tensor,
    ) -> tf.Tensor:
        def body(i: tf.Tensor, measures: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            batch = tf.gather(images, rows[i]), tf.gather(weights, rows[i])
            measured = self._one(*batch, first_step + i, factor)
            return i + 1, tf.tensor_scatter_nd_update(measures, [[i]], [measured])

        measures = tf.zeros((rows.shape[0], len(MEASURES)))
        return tf.while_loop(lambda i, _: i < count, body, (tf.constant(0), measures))[1]

    def _one(self, codes: tf.Tensor, weights: tf.Tensor, number: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
        """Updates weights and optimizer by one step; returns its measures."""
        loss, terms, gradients = self._gradients((codes, weights, self._drawn(number)), number)
        size = self._step.norm(gradients)
        finite = tf.math.is_finite(loss) & tf.math.is_finite(size)
        gradients = self._step.clipped(gradients, finite)
        self._optimizer.learning_rate.assign(self._step.rate(number, factor))
        if self._step.skips_non_finite and not self._step.optimizer_skips:
            tf.cond(finite, lambda: self._optimizer.apply(gradients, self._variables), lambda: None)
        else:
            self._optimizer.apply(gradients, self._variables)
        skipped = tf.cast(~finite, tf.float32) if self._step.skips_non_finite else 0.0
        return tf.stack([loss, *terms, size, skipped])

    def _gradients(self, batch: Any, number: tf.Tensor) -> tuple[tf.Tensor, tuple[tf.Tensor, ...], list[tf.Tensor]]:
        """Returns loss, terms and gradients, each the mean over the micro-batches."""

        def compute(part: Any) -> Any:
            with tf.GradientTape() as tape:
                loss, terms = self._step.loss(*part, number)
                scaled = self._step.scaled(loss)
            return loss, terms, tape.gradient(scaled, self._variables)

        parts = self._step.micro_batches
        if parts == 1:
            return compute(batch)
        batches = tf.nest.map_structure(lambda b: tf.reshape(b, (parts, -1, *b.shape[1:])), batch)

        def part(number: tf.Tensor | int) -> Any:
            return compute(tf.nest.map_structure(lambda b: b[number], batches))

        def body(i: tf.Tensor, sums: Any) -> Any:
            return i + 1, tf.nest.map_structure(tf.add, sums, part(i))

        _, sums = tf.while_loop(lambda i, _: i < parts, body, (tf.constant(1), part(0)))
        return tf.nest.map_structure(lambda value: value / parts, sums)

    def _drawn(self, number: tf.Tensor) -> tuple[tf.Tensor, ...]:
        draws = self._step.draws
        draw = {"uniform": tf.random.stateless_uniform, "normal": tf.random.stateless_normal}

        def numbers(place: int) -> tf.Tensor:
            stream = tf.constant(len(draws) * self._seed + place, tf.int64)
            return draw[draws[place].kind](
                draws[place].shape, tf.stack([stream, tf.cast(number, tf.int64)]), alg=GENERATOR
            )

        return tuple(map(numbers, range(len(draws))))
