"""Data-parallel training steps over several devices and machines.

A device draws the same noise for its examples as a single device would, and computes the means over its part of the
batch. An all-reduce averages loss, measures and gradients over the devices. Then every device does the same: clip,
skip, update. So one device and several train the same model, except for the rounding of a mean.
"""

from typing import Any

import numpy as np
import tensorflow as tf

from elboflow.vae.compute import contract
from elboflow.vae.compute.cluster import Cluster
from elboflow.vae.compute.pure_step import State
from elboflow.vae.compute.tensorflow.distributed import connected
from elboflow.vae.compute.tensorflow.step import Arrays, TensorFlowStep
from elboflow.vae.compute.training_step import Turn
from elboflow.vae.data import Examples


class ReplicatedSteps:
    """`elboflow.vae.compute.contract.Steps` over the replicas of a strategy.

    The variables are on the first device, as in any training. A call copies their values to all replicas. The loop
    updates the copies, and the end of the call assigns the copies of the first replica to the variables.
    """

    def __init__(
        self, step: TensorFlowStep, strategy: tf.distribute.Strategy, batch_size: int, cluster: Cluster | None
    ) -> None:
        self._step, self._strategy, self._cluster = step, strategy, cluster
        self._devices = strategy.extended.worker_devices
        self._each = batch_size // strategy.num_replicas_in_sync
        # XLA compiles separately for each device, which does not pay off for virtual devices: they share the CPU.
        jit = len(self._devices) == 1 or "GPU" in self._devices[0]
        self._turns = [_Turn(step, turn, strategy.num_replicas_in_sync, jit) for turn in step.turns]
        self._program = tf.function(self._run, autograph=False)

    def to_device(self, examples: Examples, capacity: int) -> Any:
        batch, count = examples.batch(capacity), len(self._devices)

        def on_device(context: Any) -> dict[str, tf.Tensor]:
            with tf.device(self._devices[context.replica_id_in_sync_group % count]):
                return {name: tf.constant(values) for name, values in batch.items()}

        return self._strategy.experimental_distribute_values_from_function(on_device)

    def __call__(
        self, on_device: Any, rows: np.ndarray, first_step: int, count: int, factor: float
    ) -> contract.Measures:
        numbers = tf.constant(first_step), tf.constant(count), tf.constant(factor, tf.float32)
        with connected(self._cluster):
            measures = self._program(on_device, tf.constant(rows), *numbers)
            return {name: values.numpy()[:count] for name, values in measures.items()}

    def _run(
        self, on_device: Any, rows: tf.Tensor, first_step: tf.Tensor, count: tf.Tensor, factor: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        strategy = self._strategy
        mine = strategy.experimental_local_results(on_device)[0]
        names = [name for turn in self._turns for name in turn.names(mine, self._each)]

        def body(i: tf.Tensor, state: Any, measures: tf.Tensor) -> tuple[tf.Tensor, Any, tf.Tensor]:
            state, measured = strategy.run(self._single_step, (state, on_device, rows[i], first_step + i, factor))
            of_first = strategy.experimental_local_results(measured)[0]
            return i + 1, state, tf.tensor_scatter_nd_update(measures, [[i]], [of_first])

        state = strategy.run(lambda: [tf.identity(value) for value in self._step.read()])
        begin = tf.constant(0), state, tf.zeros((rows.shape[0], len(names)))
        _, state, measures = tf.while_loop(lambda i, *_: i < count, body, begin)
        self._step.write([strategy.experimental_local_results(value)[0] for value in state])
        return dict(zip(names, tf.unstack(measures, axis=1), strict=True))

    def _single_step(
        self, state: State, on_device: Arrays, rows: tf.Tensor, number: tf.Tensor, factor: tf.Tensor
    ) -> tuple[State, tf.Tensor]:
        """Returns the state after one step, and the measures, on a replica."""
        replica = tf.distribute.get_replica_context()
        place = tf.cast(replica.replica_id_in_sync_group, tf.int32)
        own = tf.slice(rows, [place % len(self._devices) * self._each], [self._each])
        measures = []
        for turn in self._turns:
            found = turn.found(state, on_device, own, number, place * self._each)
            sums = replica.all_reduce(tf.distribute.ReduceOp.SUM, found)
            state, measured = turn.applied(state, sums, number, factor)
            measures.append(measured)
        return state, tf.concat(measures, axis=0)


class _Turn:
    """The turn of a player as two functions of flat vectors, so that one all-reduce sums all tensors of the turn."""

    def __init__(self, step: TensorFlowStep, turn: Turn, replicas: int, jit: bool) -> None:
        self._step, self._turn, self._replicas = step, turn, replicas
        self.found = tf.function(self._find, jit_compile=jit, autograph=False)
        self.applied = tf.function(self._apply, jit_compile=jit, autograph=False)
        self._parts: Any = None  # the tensor specs of `_find`'s results
        self._names: list[str] = []

    def names(self, on_device: Arrays, examples: int) -> list[str]:
        """Returns the names of the measures, in the order of `applied`; traces both functions.

        Args:
            on_device: The arrays of a replica.
            examples: The number of examples in a replica's part of a batch.
        """
        state, number = (
            [tf.TensorSpec(value.shape, value.dtype) for value in self._step.read()],
            tf.TensorSpec((), tf.int32),
        )
        rows = tf.TensorSpec((examples,), tf.int32)
        found = self.found.get_concrete_function(state, on_device, rows, number, number)
        sums = tf.TensorSpec(found.structured_outputs.shape, tf.float32)
        self.applied.get_concrete_function(state, sums, number, tf.TensorSpec((), tf.float32))
        return self._names

    def _find(self, state: State, on_device: Arrays, rows: tf.Tensor, number: tf.Tensor, first: tf.Tensor) -> tf.Tensor:
        batch = {name: tf.gather(values, rows) for name, values in on_device.items()}
        drawn = self._step.drawn(number, first, rows.shape[0])
        found = self._step.found(self._turn, state, batch, drawn, number)
        self._parts = tf.nest.map_structure(lambda part: tf.TensorSpec(part.shape, part.dtype), found)
        return tf.concat([tf.reshape(part, [-1]) for part in tf.nest.flatten(found)], axis=0)

    def _apply(self, state: State, sums: tf.Tensor, number: tf.Tensor, factor: tf.Tensor) -> tuple[State, tf.Tensor]:
        """Returns the state after the turn, and the measures, `[names]`."""
        shapes = [part.shape for part in tf.nest.flatten(self._parts)]
        flat = tf.split(sums / self._replicas, [shape.num_elements() for shape in shapes])
        parts = [tf.reshape(part, shape) for part, shape in zip(flat, shapes, strict=True)]
        found = tf.nest.pack_sequence_as(self._parts, parts)
        state, measured = self._step.applied(self._turn, state, found, number, factor)
        self._names = sorted(measured)
        return state, tf.stack([measured[name] for name in self._names])


def summed(strategy: tf.distribute.Strategy, numbers: np.ndarray) -> np.ndarray:
    """All-reduce (sum) of one array per machine over the machines of a strategy."""
    count = len(strategy.extended.worker_devices)

    def once(context: Any) -> tf.Tensor:
        return tf.constant(numbers if context.replica_id_in_sync_group % count == 0 else np.zeros_like(numbers))

    own = strategy.experimental_distribute_values_from_function(once)
    return strategy.reduce(tf.distribute.ReduceOp.SUM, own, axis=None).numpy()
