"""A compiled loop of training steps; weights and optimizer state are donated from call to call."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from elboflow.vae.compute.contract import Measures
from elboflow.vae.compute.jax import noise
from elboflow.vae.compute.jax.devices import placement
from elboflow.vae.compute.jax.distributed import connected
from elboflow.vae.compute.jax.layout import DATA, MODEL, Divided
from elboflow.vae.compute.pure_step import PureStep, State
from elboflow.vae.compute.training_step import TrainingStep, Turn
from elboflow.vae.data import Examples

OnDevice = dict[str, jax.Array]

_REPLICATED = PartitionSpec()


class LoopOfSteps:
    """The steps of `elboflow.vae.compute.contract.Steps` on JAX."""

    def __init__(self, step: TrainingStep, seed: int) -> None:
        self._step, self._seed, self._pure = step, seed, PureStep(step)
        if isinstance(distribution := keras.distribution.distribution(), Divided):
            distribution.check()
        self._variables = self._pure.variables
        found = jax.value_and_grad(self._loss, has_aux=True)
        self._found = found if step.micro_batches == 1 else _accumulated(found, step.micro_batches)
        devices = placement().devices
        self._mesh = jax.sharding.Mesh(devices, (DATA, MODEL)[: devices.ndim])
        self._layouts = [variable.value.sharding for variable in self._variables]
        self._jitted_step = jax.jit(self._single_step)
        whole = NamedSharding(self._mesh, _REPLICATED)
        self._program = jax.jit(self._run, donate_argnums=0, out_shardings=(self._layouts, whole))

    def to_device(self, examples: Examples, capacity: int) -> OnDevice:
        # Every device of this machine has a copy of all examples of the machine, so a gather needs no communication.
        return {name: self._on_each_device(array) for name, array in examples.batch(capacity).items()}

    def _on_each_device(self, array: np.ndarray) -> jax.Array:
        sharding = NamedSharding(self._mesh, PartitionSpec(DATA))
        copies = [jax.device_put(array[None], device) for device in self._mesh.local_devices]
        shape = (self._mesh.shape[DATA], *array.shape)
        return jax.make_array_from_single_device_arrays(shape, sharding, copies)

    def __call__(self, on_device: OnDevice, rows: np.ndarray, first_step: int, count: int, factor: float) -> Measures:
        # Variables that are new, or assigned from the host, have another sharding, which would cause a recompilation.
        state = jax.device_put([variable.value for variable in self._variables], self._layouts)
        batches = jax.make_array_from_process_local_data(NamedSharding(self._mesh, PartitionSpec(None, DATA)), rows)
        with connected():
            state, measures = self._program(
                state, on_device, batches, np.int32(first_step), np.int32(count), np.float32(factor)
            )
            for variable, value in zip(self._variables, state, strict=True):
                variable.assign(value)
            return {name: np.asarray(values)[:count] for name, values in measures.items()}

    def _run(
        self,
        state: State,
        on_device: OnDevice,
        rows: jax.Array,
        first_step: jax.Array,
        count: jax.Array,
        factor: jax.Array,
    ) -> tuple[State, OnDevice]:
        def body(i: jax.Array, carried: Any) -> Any:
            state, measures = carried
            state, measured = self._jitted_step(state, on_device, rows[i], first_step + i, factor)
            return state, {name: measures[name].at[i].set(value) for name, value in measured.items()}

        _, shapes = jax.eval_shape(self._jitted_step, state, on_device, rows[0], first_step, factor)
        begin = state, {name: jnp.zeros(rows.shape[:1]) for name in shapes}
        if rows.shape[0] == 1:  # no loop for a single step, because convolutions are slow in a loop
            return body(0, begin)
        return jax.lax.fori_loop(0, count, body, begin)

    def _single_step(
        self, state: State, on_device: OnDevice, rows: jax.Array, number: jax.Array, factor: jax.Array
    ) -> tuple[State, OnDevice]:
        """Returns the state after one step, and the measures."""
        parts = self._parts(on_device, rows, number)
        measures: OnDevice = {}
        for turn in self._step.turns:
            weights = self._pure.values_of(state, turn.player.variables)
            (_, (loss, means, kept)), gradients = self._found(weights, turn, state, parts, number)
            state, measured = self._pure.applied(turn, state, (loss, means, gradients, kept), number, factor)
            measures |= measured
        return jax.lax.with_sharding_constraint(state, self._layouts), measures

    def _loss(self, weights: State, turn: Turn, state: State, part: Any, number: jax.Array) -> Any:
        """Returns the scaled loss to differentiate, and the loss, the measures and the model's state."""
        batch, drawn = part
        with self._pure.scope(self._pure.replaced(state, turn.player.variables, weights)) as scope:
            losses = turn.player.loss(batch, self._step.noise(drawn), number)
            loss, measures = self._step.means(turn, batch, losses)
            kept = [scope.get_current_value(variable) for variable in self._step.model.state]
            return turn.scaled(loss), (loss, measures, kept)

    def _parts(self, on_device: OnDevice, rows: jax.Array, number: jax.Array) -> Any:
        """Returns features, weights and noise of a batch, `[examples, …]`, or `[micro-batches, examples, …]`.

        A micro-batch contains examples of every device: each device splits its own part of the batch.
        """
        count = self._step.micro_batches

        def cut(batch: jax.Array) -> jax.Array:
            return batch if count == 1 else batch.reshape(count, -1, *batch.shape[1:])

        def local(on_device: OnDevice, rows: jax.Array, noise: tuple[jax.Array, ...]) -> Any:
            batch = {name: values[0][rows] for name, values in on_device.items()}
            return jax.tree.map(cut, (batch, noise))

        drawn = noise.drawn(self._step.draws, self._seed, number, self._step.batch_size)
        if self._mesh.size == 1:
            return local(on_device, rows, drawn)
        by_device = PartitionSpec(DATA)
        parts = by_device if count == 1 else PartitionSpec(None, DATA)
        return jax.shard_map(local, mesh=self._mesh, in_specs=by_device, out_specs=parts)(on_device, rows, drawn)


def _accumulated(found: Callable[..., Any], count: int) -> Callable[..., Any]:
    """Returns `found`, a gradient of `_loss`, averaged over micro-batches, which are computed one after the other."""

    def mean(weights: State, turn: Turn, state: State, parts: Any, number: jax.Array) -> Any:
        def compute(part: Any) -> Any:
            return found(weights, turn, state, part, number)

        zero = jax.tree.map(jnp.zeros_like, jax.eval_shape(compute, jax.tree.map(lambda b: b[0], parts)))
        total, _ = jax.lax.scan(lambda sums, part: (jax.tree.map(jnp.add, sums, compute(part)), None), zero, parts)
        return jax.tree.map(lambda value: value / count, total)

    return mean
