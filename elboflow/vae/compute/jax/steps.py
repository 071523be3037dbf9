"""A compiled loop of training steps; weights and optimizer state are donated from call to call."""

from collections.abc import Sequence
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
from elboflow.vae.compute.training_step import TrainingStep, Turn
from elboflow.vae.data import Examples

OnDevice = dict[str, jax.Array]
State = list[jax.Array]

_REPLICATED = PartitionSpec()


class LoopOfSteps:
    """The steps of `elboflow.vae.compute.contract.Steps` on JAX."""

    def __init__(self, step: TrainingStep, seed: int) -> None:
        self._step, self._seed = step, seed
        for turn in step.turns:
            turn.optimizer.build(list(turn.player.variables))
        if isinstance(distribution := keras.distribution.distribution(), Divided):
            distribution.check()
        self._variables = step.variables
        self._places = {id(variable): place for place, variable in enumerate(self._variables)}
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
            state, measured = self._updated(turn, state, parts, number, factor)
            measures |= measured
        return jax.lax.with_sharding_constraint(state, self._layouts), measures

    def _updated(
        self, turn: Turn, state: State, parts: Any, number: jax.Array, factor: jax.Array
    ) -> tuple[State, OnDevice]:
        """Returns the state after the turn of a player, and the measures."""
        optimizer, player = turn.optimizer, turn.player
        loss, measures, gradients, kept = self._gradients(turn, state, parts, number)
        state = self._replaced(state, [optimizer.learning_rate], [self._step.rate(number, factor)])
        with self._scope(state):
            size = turn.norm(gradients)
            finite = jnp.isfinite(loss) & jnp.isfinite(size)
            gradients = self._step.clipped(turn, gradients, finite)

        def updated() -> State:
            weights, slots = optimizer.stateless_apply(
                self._values_of(state, optimizer.variables), gradients, self._values_of(state, player.variables)
            )
            changed = [*player.variables, *optimizer.variables, *self._step.model.state]
            return self._replaced(state, changed, [*weights, *slots, *kept])

        if self._step.skips_non_finite and not turn.skips:
            state = jax.lax.cond(finite, updated, lambda: state)
        else:
            state = updated()
        skipped = (~finite).astype(jnp.float32) if self._step.skips_non_finite else jnp.zeros(())
        return state, {**measures, **self._step.measured(turn, loss, size, skipped)}

    def _parts(self, on_device: OnDevice, rows: jax.Array, number: jax.Array) -> Any:
        """Returns features, weights and noise of a batch, each `[micro-batches, examples, …]`.

        A micro-batch contains examples of every device: each device splits its own part of the batch.
        """

        def cut(batch: jax.Array) -> jax.Array:
            return batch.reshape(self._step.micro_batches, -1, *batch.shape[1:])

        def local(on_device: OnDevice, rows: jax.Array, noise: tuple[jax.Array, ...]) -> Any:
            batch = {name: values[0][rows] for name, values in on_device.items()}
            return jax.tree.map(cut, (batch, noise))

        drawn = noise.drawn(self._step.draws, self._seed, number, self._step.batch_size)
        if self._mesh.size == 1:
            return local(on_device, rows, drawn)
        by_device, parts = PartitionSpec(DATA), PartitionSpec(None, DATA)
        return jax.shard_map(local, mesh=self._mesh, in_specs=by_device, out_specs=parts)(on_device, rows, drawn)

    def _gradients(self, turn: Turn, state: State, parts: Any, number: jax.Array) -> Any:
        """Returns loss, measures, gradients and the model's state, each averaged over the micro-batches."""

        def scaled(weights: list[jax.Array], part: Any) -> Any:
            batch, drawn = part
            with self._scope(self._replaced(state, turn.player.variables, weights)) as scope:
                loss, measures = self._step.loss(turn, batch, drawn, number)
                kept = [scope.get_current_value(variable) for variable in self._step.model.state]
                return turn.scaled(loss), (loss, measures, kept)

        def compute(part: Any) -> Any:
            weights = self._values_of(state, turn.player.variables)
            (_, (loss, measures, kept)), gradients = jax.value_and_grad(scaled, has_aux=True)(weights, part)
            return loss, measures, gradients, kept

        if self._step.micro_batches == 1:
            return compute(jax.tree.map(lambda batch: batch[0], parts))
        zero = jax.tree.map(jnp.zeros_like, jax.eval_shape(compute, jax.tree.map(lambda b: b[0], parts)))
        total, _ = jax.lax.scan(lambda sums, part: (jax.tree.map(jnp.add, sums, compute(part)), None), zero, parts)
        return jax.tree.map(lambda value: value / self._step.micro_batches, total)

    def _scope(self, state: State) -> keras.StatelessScope:
        """A scope in which the variables of model and optimizers have these values."""
        return keras.StatelessScope(state_mapping=list(zip(self._variables, state, strict=True)))

    def _values_of(self, state: State, variables: Sequence[keras.Variable]) -> State:
        return [state[self._places[id(variable)]] for variable in variables]

    def _replaced(self, state: State, variables: Sequence[keras.Variable], values: Sequence[jax.Array]) -> State:
        """Returns the state with new values for some variables."""
        changed = list(state)
        for variable, value in zip(variables, values, strict=True):
            changed[self._places[id(variable)]] = value
        return changed
