"""JAX as a backend."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import jax
import keras
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import NamedSharding, PartitionSpec

from elboflow.vae.compute.cluster import Cluster
from elboflow.vae.compute.contract import Job, Steps
from elboflow.vae.compute.jax.devices import placement
from elboflow.vae.compute.jax.distributed import connected
from elboflow.vae.compute.jax.layout import DATA, MODEL, Divided
from elboflow.vae.compute.jax.steps import LoopOfSteps
from elboflow.vae.compute.training_step import TrainingStep
from elboflow.vae.config import ModelParallel
from elboflow.vae.model import Model, variables

_REPLICATED = PartitionSpec()


def compiled(model: Model, function: Callable[..., Any]) -> Callable[..., Any]:
    weights = variables(model)
    where = weights[0].value.sharding
    mesh = where.mesh if isinstance(where, NamedSharding) else None

    def traced(values: list[jax.Array], *arrays: Any) -> Any:
        with keras.StatelessScope(state_mapping=list(zip(weights, values, strict=True))):
            return function(*arrays)

    program = jax.jit(traced, out_shardings=NamedSharding(mesh, _REPLICATED) if mesh else None)

    def call(*arrays: Any) -> Any:
        given = arrays if mesh is None else jax.tree.map(lambda array: _sharded(mesh, array), arrays)
        with connected():
            return jax.tree.map(np.asarray, program([variable.value for variable in weights], *given))

    return call


def _sharded(mesh: jax.sharding.Mesh, array: np.ndarray) -> jax.Array:
    """Returns an array of the host, sharded over the devices along its first axis, or replicated if it is uneven."""
    is_even = array.ndim > 0 and array.shape[0] % mesh.shape[DATA] == 0
    sharding = NamedSharding(mesh, PartitionSpec(DATA) if is_even else _REPLICATED)
    return jax.make_array_from_callback(array.shape, sharding, lambda part: array[part])


def training(step: TrainingStep, seed: int) -> Steps:
    return LoopOfSteps(step, seed)


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


def values(wanted: Sequence[keras.Variable]) -> list[np.ndarray]:
    arrays = [variable.value for variable in wanted]
    for array in arrays:
        array.copy_to_host_async()
    return [_on_host(array) for array in arrays]


def _on_host(array: jax.Array) -> np.ndarray:
    """Returns a copy of an array on the host. The shards of a sharded array are all on this machine."""
    if array.is_fully_addressable or array.is_fully_replicated:
        return np.array(array)
    whole = np.empty(array.shape, array.dtype)
    for part in array.addressable_shards:
        whole[part.index] = part.data
    return whole


def on_processors() -> bool:
    return placement().devices.flat[0].platform == "cpu"


def memory() -> int | None:
    statistics = jax.local_devices()[0].memory_stats()
    return statistics["bytes_in_use"] if statistics else None


def all_reduce_max(numbers: np.ndarray) -> np.ndarray:
    if jax.process_count() == 1:
        return numbers
    words = np.asarray(numbers, np.float64).view(np.uint32)  # JAX would convert float64 to float32
    with connected():
        return np.asarray(multihost_utils.process_allgather(words)).view(np.float64).max(axis=0)


@contextmanager
def together(job: Job, cluster: Cluster | None, worker: str) -> Iterator[Cluster | None]:
    yield cluster  # one process uses all devices of its machine


@contextmanager
def profiled(folder: Path) -> Iterator[None]:
    with jax.profiler.trace(str(folder)):
        yield
