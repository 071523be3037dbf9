"""Training steps over several devices and machines: each computes a part of every batch.

A device draws the noise of its examples as one device would draw it, computes the means over its part, and all take the
mean of these: loss, terms and gradients of the whole batch. From there on all do the same: clip, skip, update. So one
device and several train the same model, but for the rounding of a mean.
"""

from typing import Any

import numpy as np
import tensorflow as tf

from elboflow.vae.backends import filled
from elboflow.vae.backends.cluster import Cluster
from elboflow.vae.backends.tensorflow_distributed import connected
from elboflow.vae.backends.tensorflow_step import Found, PureStep, State
from elboflow.vae.data import Examples
from elboflow.vae.training.step import MEASURES


class ReplicatedSteps:
    """`elboflow.vae.backends.Steps` over the replicas of a strategy.

    The variables stay on the first device, as those of any training: a call hands their values to all replicas, whose
    loop carries them on, and ends with assigning those of the first replica.
    """

    def __init__(
        self, step: PureStep, strategy: tf.distribute.Strategy, batch_size: int, cluster: Cluster | None
    ) -> None:
        self._step, self._strategy, self._cluster = step, strategy, cluster
        self._devices = strategy.extended.worker_devices
        self._each = batch_size // strategy.num_replicas_in_sync
        # XLA compiles for each device anew: not worth it for virtual ones, which share the processors anyway.
        jit = len(self._devices) == 1 or "GPU" in self._devices[0]
        self._found = tf.function(self._found_flat, jit_compile=jit, autograph=False)
        self._applied = tf.function(self._applied_flat, jit_compile=jit, autograph=False)
        self._program = tf.function(self._run, autograph=False)

    def hold(self, examples: Examples, capacity: int) -> Any:
        images, weights = filled(examples, capacity)
        count = len(self._devices)

        def on_device(context: Any) -> tuple[tf.Tensor, tf.Tensor]:
            with tf.device(self._devices[context.replica_id_in_sync_group % count]):
                return tf.constant(images), tf.constant(weights)

        return self._strategy.experimental_distribute_values_from_function(on_device)

    def __call__(self, held: Any, rows: np.ndarray, first_step: int, count: int, factor: float) -> np.ndarray:
        numbers = tf.constant(first_step), tf.constant(count), tf.constant(factor, tf.float32)
        with connected(self._cluster):
            return self._program(held, tf.constant(rows), *numbers).numpy()[:count]

    def _run(self, held: Any, rows: tf.Tensor, first_step: tf.Tensor, count: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
        strategy = self._strategy

        def body(i: tf.Tensor, state: Any, measures: tf.Tensor) -> tuple[tf.Tensor, Any, tf.Tensor]:
            state, measured = strategy.run(self._one, (state, held, rows[i], first_step + i, factor))
            first = strategy.experimental_local_results(measured)[0]
            return i + 1, state, tf.tensor_scatter_nd_update(measures, [[i]], [first])

        state = strategy.run(lambda: [tf.identity(value) for value in self._step.read()])
        measures = tf.zeros((rows.shape[0], len(MEASURES)))
        _, state, measures = tf.while_loop(lambda i, *_: i < count, body, (tf.constant(0), state, measures))
        self._step.write([strategy.experimental_local_results(value)[0] for value in state])
        return measures

    def _one(
        self, state: State, held: tuple[tf.Tensor, tf.Tensor], rows: tf.Tensor, number: tf.Tensor, factor: tf.Tensor
    ) -> tuple[State, tf.Tensor]:
        """Returns the state after one step, and its measures, on a replica."""
        replica = tf.distribute.get_replica_context()
        place = tf.cast(replica.replica_id_in_sync_group, tf.int32)
        own = tf.slice(rows, [place % len(self._devices) * self._each], [self._each])
        sums = replica.all_reduce(
            tf.distribute.ReduceOp.SUM, self._found(state, *held, own, number, place * self._each)
        )
        return self._applied(state, sums, number, factor)

    def _found_flat(
        self, state: State, images: tf.Tensor, weights: tf.Tensor, rows: tf.Tensor, number: tf.Tensor, first: tf.Tensor
    ) -> tf.Tensor:
        """Returns what a replica finds in one vector, which is summed over the replicas in one go."""
        found = self._step.found(state, tf.gather(images, rows), tf.gather(weights, rows), number, first)
        return tf.concat([tf.reshape(part, [-1]) for part in tf.nest.flatten(found)], axis=0)

    def _applied_flat(
        self, state: State, sums: tf.Tensor, number: tf.Tensor, factor: tf.Tensor
    ) -> tuple[State, tf.Tensor]:
        means = sums / self._strategy.num_replicas_in_sync
        return self._step.applied(state, self._whole(means, state), number, factor)

    def _whole(self, flat: tf.Tensor, state: State) -> Found:
        """Returns what the vector of `_found_flat` was made of."""
        weights = self._step.weights_of(state)
        loss, reconstruction, kl, *parts = tf.split(
            flat, [1, 1, 1, *(weight.shape.num_elements() for weight in weights)]
        )
        gradients = [tf.reshape(part, weight.shape) for part, weight in zip(parts, weights, strict=True)]
        return loss[0], (reconstruction[0], kl[0]), gradients


def summed(strategy: tf.distribute.Strategy, numbers: np.ndarray) -> np.ndarray:
    """Returns the sum of arrays over the machines of a strategy; each gives one."""
    count = len(strategy.extended.worker_devices)

    def once(context: Any) -> tf.Tensor:
        return tf.constant(numbers if context.replica_id_in_sync_group % count == 0 else np.zeros_like(numbers))

    own = strategy.experimental_distribute_values_from_function(once)
    return strategy.reduce(tf.distribute.ReduceOp.SUM, own, axis=None).numpy()
