"""JAX: one compiled loop of training steps; weights and optimizer state are donated from call to call."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import NamedSharding, PartitionSpec

from elboflow.vae.backends import Steps, filled, jax_noise
from elboflow.vae.backends.cluster import Cluster
from elboflow.vae.backends.jax_devices import placement
from elboflow.vae.backends.jax_distributed import connected
from elboflow.vae.backends.jax_layout import DATA, MODEL, Divided
from elboflow.vae.config import ModelParallel
from elboflow.vae.data import Examples
from elboflow.vae.training.job import Job
from elboflow.vae.training.step import MEASURES, TrainingStep

Held = tuple[jax.Array, jax.Array]
State = tuple[list[jax.Array], list[jax.Array]]

_WHOLE = PartitionSpec()


def compiled(model: keras.Model, function: Callable[..., Any]) -> Callable[..., Any]:
    variables = model.variables
    where = variables[0].value.sharding
    mesh = where.mesh if isinstance(where, NamedSharding) else None

    def traced(values: list[jax.Array], *arrays: jax.Array) -> Any:
        with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
            return function(*arrays)

    program = jax.jit(traced, out_shardings=NamedSharding(mesh, _WHOLE) if mesh else None)

    def call(*arrays: np.ndarray) -> Any:
        given = arrays if mesh is None else [_divided(mesh, array, len(arrays[0])) for array in arrays]
        with connected():
            return jax.tree.map(np.asarray, program([variable.value for variable in variables], *given))

    return call


def _divided(mesh: jax.sharding.Mesh, array: np.ndarray, batch: int) -> jax.Array:
    """Returns an array that all processes have, divided among the devices along its first axis of a batch's size."""
    axes: list[str | None] = [None] * array.ndim
    if batch in array.shape and batch % mesh.shape[DATA] == 0:
        axes[array.shape.index(batch)] = DATA
    sharding = NamedSharding(mesh, PartitionSpec(*axes))
    return jax.make_array_from_callback(array.shape, sharding, lambda part: array[part])


def training(step: TrainingStep, seed: int) -> Steps:
    return _Steps(step, seed)


@contextmanager
def scope() -> Iterator[None]:
    distribution = _distribution()
    with distribution.scope() if distribution else nullcontext():
        yield


def _distribution() -> keras.distribution.DataParallel | Divided | None:
    place = placement()
    if place.parallel is None:
        return None
    names = np.vectorize(lambda device: f"{device.platform}:{device.id}", otypes=[object])(place.devices)
    mesh = keras.distribution.DeviceMesh(names.shape, [DATA, MODEL][: names.ndim], names)
    if isinstance(place.parallel, ModelParallel):
        return Divided(mesh, place.parallel.layout)
    return keras.distribution.DataParallel(mesh, auto_shard_dataset=False)


def values(variables: Sequence[keras.Variable]) -> list[np.ndarray]:
    arrays = [variable.value for variable in variables]
    for array in arrays:
        array.copy_to_host_async()
    return [_whole(array) for array in arrays]


def _whole(array: jax.Array) -> np.ndarray:
    """Returns a copy of an array; of one that is divided, from its parts on this machine, which has them all."""
    if array.is_fully_addressable or array.is_fully_replicated:
        return np.array(array)
    whole = np.empty(array.shape, array.dtype)
    for part in array.addressable_shards:
        whole[part.index] = part.data
    return whole


def memory() -> int | None:
    statistics = jax.local_devices()[0].memory_stats()
    return statistics["bytes_in_use"] if statistics else None


def agreed(numbers: np.ndarray) -> np.ndarray:
    if jax.process_count() == 1:
        return numbers
    words = np.asarray(numbers, np.float64).view(np.uint32)  # JAX would make float32 of them
    with connected():
        return np.asarray(multihost_utils.process_allgather(words)).view(np.float64).max(axis=0)


@contextmanager
def together(job: Job, cluster: Cluster | None) -> Iterator[Cluster | None]:
    yield cluster  # one process computes on all devices of its machine


@contextmanager
def profiled(folder: Path) -> Iterator[None]:
    with jax.profiler.trace(str(folder)):
        yield


class _Steps:
    def __init__(self, step: TrainingStep, seed: int) -> None:
        self._step, self._optimizer, self._seed = step, step.optimizer, seed
        self._variables = step.model.trainable_variables
        self._optimizer.build(self._variables)
        if isinstance(distribution := keras.distribution.distribution(), Divided):
            distribution.check()
        rate = self._optimizer.learning_rate
        self._rate = next(i for i, variable in enumerate(self._optimizer.variables) if variable is rate)
        devices = placement().devices
        self._mesh = jax.sharding.Mesh(devices, (DATA, MODEL)[: devices.ndim])
        self._layouts: State = (
            [variable.value.sharding for variable in self._variables],
            [variable.value.sharding for variable in self._optimizer.variables],
        )
        self._program = jax.jit(
            self._run, donate_argnums=0, out_shardings=(*self._layouts, NamedSharding(self._mesh, _WHOLE))
        )

    def hold(self, examples: Examples, capacity: int) -> Held:
        # Every device of this machine holds all of the machine's examples, and takes its rows without asking another.
        first, second = (self._on_each_device(array) for array in filled(examples, capacity))
        return first, second

    def _on_each_device(self, array: np.ndarray) -> jax.Array:
        sharding = NamedSharding(self._mesh, PartitionSpec(DATA))
        copies = [jax.device_put(array[None], device) for device in self._mesh.local_devices]
        shape = (self._mesh.shape[DATA], *array.shape)
        return jax.make_array_from_single_device_arrays(shape, sharding, copies)

    def __call__(self, held: Held, rows: np.ndarray, first_step: int, count: int, factor: float) -> np.ndarray:
        variables = [*self._variables, *self._optimizer.variables]
        values = [v.value for v in self._variables], [v.value for v in self._optimizer.variables]
        # What was assigned from the host, or just made, would be compiled for once more.
        state = jax.device_put(values, self._layouts)
        batches = jax.make_array_from_process_local_data(NamedSharding(self._mesh, PartitionSpec(None, DATA)), rows)
        with connected():
            weights, slots, measures = self._program(
                state, held, batches, np.int32(first_step), np.int32(count), np.float32(factor)
            )
            for variable, value in zip(variables, [*weights, *slots], strict=True):
                variable.assign(value)
            return np.asarray(measures)[:count]

    def _run(
        self, state: State, held: Held, rows: jax.Array, first_step: jax.Array, count: jax.Array, factor: jax.Array
    ) -> Any:
        def body(i: jax.Array, carried: Any) -> Any:
            weights, slots, measures = carried
            weights, slots, measured = self._one(weights, slots, held, rows[i], first_step + i, factor)
            return weights, slots, measures.at[i].set(measured)

        measures = jnp.zeros((rows.shape[0], len(MEASURES)))
        if rows.shape[0] == 1:  # one step is no loop, which convolutions are slow in
            return body(0, (*state, measures))
        return jax.lax.fori_loop(0, count, body, (*state, measures))

    def _one(
        self,
        weights: list[jax.Array],
        slots: list[jax.Array],
        held: Held,
        rows: jax.Array,
        number: jax.Array,
        factor: jax.Array,
    ) -> tuple[list[jax.Array], list[jax.Array], jax.Array]:
        """Returns weights, the optimizer's variables and the measures after one step."""
        loss, terms, gradients = self._gradients(weights, slots, self._parts(held, rows, number), number)
        slots = [*slots[: self._rate], self._step.rate(number, factor), *slots[self._rate + 1 :]]
        with self._scope(weights, slots):
            size = self._step.norm(gradients)
            finite = jnp.isfinite(loss) & jnp.isfinite(size)
            gradients = self._step.clipped(gradients, finite)

        def updated() -> Any:
            return self._optimizer.stateless_apply(slots, gradients, weights)

        if self._step.skips_non_finite and not self._step.optimizer_skips:
            weights, slots = jax.lax.cond(finite, updated, lambda: (weights, slots))
        else:
            weights, slots = updated()
        weights, slots = jax.lax.with_sharding_constraint((weights, slots), self._layouts)
        skipped = ~finite if self._step.skips_non_finite else jnp.zeros(())
        return weights, slots, jnp.stack([loss, *terms, size, skipped.astype(jnp.float32)])

    def _parts(self, held: Held, rows: jax.Array, number: jax.Array) -> Any:
        """Returns codes, weights and noise of a batch, each `[micro-batches, examples, …]`.

        A micro-batch has examples of every device, which thus cuts its own part of the batch into as many.
        """

        def cut(batch: jax.Array) -> jax.Array:
            return batch.reshape(self._step.micro_batches, -1, *batch.shape[1:])

        def local(held: Held, rows: jax.Array, noise: tuple[jax.Array, ...]) -> Any:
            images, weights = (array[0] for array in held)
            return jax.tree.map(cut, (images[rows], weights[rows], noise))

        noise = jax_noise.drawn(self._step.draws, self._seed, number)
        if self._mesh.size == 1:
            return local(held, rows, noise)
        by_device, parts = PartitionSpec(DATA), PartitionSpec(None, DATA)
        return jax.shard_map(local, mesh=self._mesh, in_specs=by_device, out_specs=parts)(held, rows, noise)

    def _gradients(self, weights: list[jax.Array], slots: list[jax.Array], parts: Any, number: jax.Array) -> Any:
        """Returns loss, terms and gradients, each the mean over the micro-batches."""

        def scaled(weights: list[jax.Array], part: Any) -> Any:
            codes, counts, drawn = part
            with self._scope(weights, slots):
                loss, terms = self._step.loss(codes, counts, drawn, number)
                return self._step.scaled(loss), (loss, terms)

        def compute(part: Any) -> Any:
            (_, (loss, terms)), gradients = jax.value_and_grad(scaled, has_aux=True)(weights, part)
            return loss, terms, gradients

        if self._step.micro_batches == 1:
            return compute(jax.tree.map(lambda batch: batch[0], parts))
        zero = jax.tree.map(jnp.zeros_like, jax.eval_shape(compute, jax.tree.map(lambda b: b[0], parts)))
        total, _ = jax.lax.scan(lambda sums, part: (jax.tree.map(jnp.add, sums, compute(part)), None), zero, parts)
        return jax.tree.map(lambda value: value / self._step.micro_batches, total)

    def _scope(self, weights: list[jax.Array], slots: list[jax.Array]) -> keras.StatelessScope:
        """Lets Keras see these values as those of the model's and the optimizer's variables."""
        variables = zip([*self._variables, *self._optimizer.variables], [*weights, *slots], strict=True)
        return keras.StatelessScope(state_mapping=list(variables))
