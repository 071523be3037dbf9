"""TensorFlow: one XLA program runs a loop of training steps, with data and variables on the device."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from elboflow.vae.compute.cluster import Cluster
from elboflow.vae.compute.contract import Job, Measures, Steps
from elboflow.vae.compute.pure_step import State
from elboflow.vae.compute.tensorflow.devices import placement
from elboflow.vae.compute.tensorflow.distributed import connected
from elboflow.vae.compute.tensorflow.replicas import ReplicatedSteps, summed
from elboflow.vae.compute.tensorflow.step import TensorFlowStep
from elboflow.vae.compute.training_step import TrainingStep
from elboflow.vae.data import Examples
from elboflow.vae.model import Model

OnDevice = dict[str, tf.Tensor]


def compiled(model: Model, function: Callable[..., Any]) -> Callable[..., Any]:
    program = tf.function(function, jit_compile=True, autograph=False)

    def call(*arrays: Any) -> Any:
        found = program(*tf.nest.map_structure(tf.convert_to_tensor, arrays))
        return tf.nest.map_structure(lambda tensor: tensor.numpy(), found)

    return call


def training(step: TrainingStep, seed: int) -> Steps:
    pure, where = TensorFlowStep(step, seed), placement()
    if where.strategy is None:
        return _Steps(pure)
    return ReplicatedSteps(pure, where.strategy, step.batch_size, where.cluster)


def on_processors() -> bool:
    return not tf.config.list_logical_devices("GPU")


def memory() -> int | None:
    if on_processors():
        return None
    return tf.config.experimental.get_memory_info("GPU:0")["current"]


def all_reduce_max(numbers: np.ndarray) -> np.ndarray:
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
def together(job: Job, cluster: Cluster | None, worker: str) -> Iterator[Cluster | None]:
    yield cluster  # one process uses all devices of its machine


@contextmanager
def scope() -> Iterator[None]:
    yield  # weights are plain variables; each call copies their values to the devices


@contextmanager
def profiled(folder: Path) -> Iterator[None]:
    with tf.profiler.experimental.Profile(str(folder)):
        yield


class _Steps:
    """Steps on one device."""

    def __init__(self, step: TensorFlowStep) -> None:
        self._step = step
        self._traced_step = tf.function(self._single_step, autograph=False)
        self._program = tf.function(self._run, jit_compile=True, autograph=False)

    def to_device(self, examples: Examples, capacity: int) -> OnDevice:
        return {name: tf.constant(values) for name, values in examples.batch(capacity).items()}

    def __call__(self, on_device: OnDevice, rows: np.ndarray, first_step: int, count: int, factor: float) -> Measures:
        numbers = tf.constant(first_step), tf.constant(count), tf.constant(factor, tf.float32)
        measures = self._program(on_device, tf.constant(rows), *numbers)
        return {name: values.numpy()[:count] for name, values in measures.items()}

    def _run(
        self, on_device: OnDevice, rows: tf.Tensor, first_step: tf.Tensor, count: tf.Tensor, factor: tf.Tensor
    ) -> OnDevice:
        state = self._step.read()
        names = list(
            self._traced_step.get_concrete_function(state, on_device, rows[0], first_step, factor).structured_outputs[1]
        )

        def body(i: tf.Tensor, state: State, table: tf.Tensor) -> tuple[tf.Tensor, State, tf.Tensor]:
            state, measures = self._traced_step(state, on_device, rows[i], first_step + i, factor)
            row = tf.stack([measures[name] for name in names])
            return i + 1, state, tf.tensor_scatter_nd_update(table, [[i]], [row])

        begin = tf.constant(0), state, tf.zeros((rows.shape[0], len(names)))
        if rows.shape[0] == 1:  # no loop for a single step, because convolutions are slow in a loop
            _, state, table = body(*begin)
        else:
            _, state, table = tf.while_loop(lambda i, *_: i < count, body, begin)
        self._step.write(state)
        return dict(zip(names, tf.unstack(table, axis=1), strict=True))

    def _single_step(
        self, state: State, on_device: OnDevice, rows: tf.Tensor, number: tf.Tensor, factor: tf.Tensor
    ) -> tuple[State, OnDevice]:
        """Returns the state after one step, and the measures."""
        batch = {name: tf.gather(values, rows) for name, values in on_device.items()}
        drawn = self._step.drawn(number, 0, rows.shape[0])
        measures: OnDevice = {}
        for turn in self._step.turns:
            found = self._step.found(turn, state, batch, drawn, number)
            state, measured = self._step.applied(turn, state, found, number, factor)
            measures |= measured
        return state, measures
