"""Checks of `training.parallel` against the backend, devices and machines, before a framework is imported."""

import math
from typing import TYPE_CHECKING

from elboflow.settings import RequestError
from elboflow.vae.config import ModelParallel, TrainingConfig

if TYPE_CHECKING:
    from elboflow.vae.compute.cluster import Cluster

PARALLEL = {
    "tensorflow": ("data",),  # model parallelism needs keras.distribution, which only JAX implements
    "jax": ("data", "model"),
    "torch": ("data",),
}
"""The kinds of `training.parallel` that each backend supports, on one machine and on several."""

TPU = frozenset({"jax"})
"""Backends with TPU support. TensorFlow has no TPU build since 2.20, and PyTorch's support is another package."""

ADDRESSES = frozenset({"tensorflow"})
"""Backends whose machines need the addresses of all other machines, not only the coordinator's."""

PROCESS_PER_DEVICE = frozenset({"torch"})
"""Backends with one process per device. The other backends have one process per machine."""


_MOST_LANES = 64


def lanes(batch_size: int) -> int:
    """Returns the number of lanes into which a split is divided (`elboflow.vae.training.order`).

    A process reads whole lanes, so the number of processes must divide the number of lanes.
    """
    return math.gcd(batch_size, _MOST_LANES)


def impossible(training: TrainingConfig) -> str | None:
    """Returns why the backend does not support the kind of `training.parallel`, or None if it does."""
    if training.parallel is None or training.parallel.kind in PARALLEL[training.backend]:
        return None
    kind = training.parallel.kind
    able = ", ".join(backend for backend, kinds in PARALLEL.items() if kind in kinds)
    return (
        f"'{kind}' is not possible with training.backend {training.backend}, which can: "
        f"{', '.join(PARALLEL[training.backend])}; '{kind}' is possible with: {able}"
    )


def check(training: TrainingConfig, cluster: "Cluster | None" = None) -> None:
    """Checks that the backend supports the settings of a training, on one machine or on a cluster.

    Raises:
        RequestError: The backend does not support them, or the batch cannot be divided among the machines.
    """
    if training.device == "tpu" and training.backend not in TPU:
        raise RequestError(
            f"training.device: tpu is not possible with training.backend {training.backend}; "
            f"it is possible with: {', '.join(sorted(TPU))}"
        )
    if reason := impossible(training):
        raise RequestError(f"training.parallel: {reason}")
    if cluster is None:
        return
    if training.parallel is None:
        raise RequestError(
            f"training.parallel: missing, and {cluster.processes} machines are to train together; choose data, or "
            f"model: {', '.join(PARALLEL[training.backend])} with training.backend {training.backend}"
        )
    if training.backend in ADDRESSES and not cluster.workers:
        able = ", ".join(backend for backend in PARALLEL if backend not in ADDRESSES)
        raise RequestError(
            f"training.backend is {training.backend}, which needs the addresses of all {cluster.processes} machines, "
            f"and only that of the coordinator is known, {cluster.coordinator}, which is enough for: {able}"
        )
    if reason := indivisible(training, cluster.processes):
        raise RequestError(reason)


def indivisible(training: TrainingConfig, machines: int, devices: int = 1) -> str | None:
    """Returns why batches cannot be divided among machines and the devices of each machine, or None if they can."""
    there = lanes(training.batch_size)
    each = training.backend in PROCESS_PER_DEVICE and machines * devices > machines
    processes, called = (machines * devices, "devices") if each else (machines, "machines")
    if there % processes:
        fitting = [number for number in range(2, there + 1) if there % number == 0]
        allowed = f"{', '.join(map(str, fitting))} {called}" if fitting else f"one {called.removesuffix('s')}"
        return (
            f"training.batch_size: {training.batch_size} cannot be divided among {processes} {called}; such a batch "
            f"can be divided among {allowed}"
        )
    parts = machines * devices * training.micro_batches
    if machines * devices > 1 and training.batch_size % parts:
        counts = {"machines": machines, "devices of each" if machines > 1 else "devices": devices}
        counts["training.micro_batches"] = training.micro_batches
        among = " and ".join(f"{count} {name}" for name, count in counts.items() if count > 1)
        return (
            f"training.batch_size: {training.batch_size} cannot be divided among {among}; choose a multiple of {parts}"
        )
    parallel = training.parallel
    if isinstance(parallel, ModelParallel) and parallel.data % machines:
        return (
            f"training.parallel.data: {parallel.data} is no multiple of the {machines} machines: weights are "
            "divided among the devices of a machine, and batches among machines"
        )
    return None
