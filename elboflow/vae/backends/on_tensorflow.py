"""TensorFlow: one XLA program runs a loop of training steps, with data and variables on the device."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from elboflow.vae.backends import Steps, filled
from elboflow.vae.backends.cluster import Cluster
from elboflow.vae.backends.tensorflow_devices import placement
from elboflow.vae.backends.tensorflow_distributed import connected
from elboflow.vae.backends.tensorflow_replicas import ReplicatedSteps, summed
from elboflow.vae.backends.tensorflow_step import PureStep, State
from elboflow.vae.data import Examples
from elboflow.vae.training.job import Job
from elboflow.vae.training.step import MEASURES, TrainingStep

Held = tuple[tf.Tensor, tf.Tensor]


def compiled(model: keras.Model, function: Callable[..., Any]) -> Callable[..., Any]:
    program = tf.function(function, jit_compile=True, autograph=False)

    def call(*arrays: np.ndarray) -> Any:
        return tf.nest.map_structure(lambda tensor: tensor.numpy(), program(*map(tf.convert_to_tensor, arrays)))

    return call


def training(step: TrainingStep, seed: int) -> Steps:
    pure, where = PureStep(step, seed), placement()
    if where.strategy is None:
        return _Steps(pure)
    return ReplicatedSteps(pure, where.strategy, step.batch_size, where.cluster)


def memory() -> int | None:
    if not tf.config.list_logical_devices("GPU"):
        return None
    return tf.config.experimental.get_memory_info("GPU:0")["current"]


def agreed(numbers: np.ndarray) -> np.ndarray:
    where = placement()
    if where.cluster is None or where.strategy is None:
        return numbers
    of_all = np.zeros((where.cluster.processes, *numbers.shape))
    of_all[where.cluster.index] = numbers
    with connected(where.cluster):
        return summed(where.strategy, of_all).max(axis=0)


def values(variables: Sequence[keras.Variable]) -> list[np.ndarray]:
    return [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]


@contextmanager
def together(job: Job, cluster: Cluster | None) -> Iterator[Cluster | None]:
    yield cluster  # one process computes on all devices of its machine


@contextmanager
def scope() -> Iterator[None]:
    yield  # weights are plain variables, whose values each call hands to the devices


@contextmanager
def profiled(folder: Path) -> Iterator[None]:
    with tf.profiler.experimental.Profile(str(folder)):
        yield


class _Steps:
    """Steps on one device."""

    def __init__(self, step: PureStep) -> None:
        self._step = step
        self._program = tf.function(self._run, jit_compile=True, autograph=False)

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
        def body(i: tf.Tensor, state: State, measures: tf.Tensor) -> tuple[tf.Tensor, State, tf.Tensor]:
            number = first_step + i
            found = self._step.found(state, tf.gather(images, rows[i]), tf.gather(weights, rows[i]), number)
            state, measured = self._step.applied(state, found, number, factor)
            return i + 1, state, tf.tensor_scatter_nd_update(measures, [[i]], [measured])

        begin = tf.constant(0), self._step.read(), tf.zeros((rows.shape[0], len(MEASURES)))
        if rows.shape[0] == 1:  # one step is no loop, which convolutions are slow in
            _, state, measures = body(*begin)
        else:
            _, state, measures = tf.while_loop(lambda i, *_: i < count, body, begin)
        self._step.write(state)
        return measures
