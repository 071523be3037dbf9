"""Which backend can train over which devices and machines. Asked before anything is imported, started or submitted."""

import math
from typing import TYPE_CHECKING

from elboflow.settings import RequestError
from elboflow.vae.config import ModelParallel, TrainingConfig

if TYPE_CHECKING:
    from elboflow.vae.compute.cluster import Cluster

PARALLEL = {
    "tensorflow": ("data",),  # a mesh that divides weights is keras.distribution's, which JAX alone implements
    "jax": ("data", "model"),
    "torch": ("data",),
}
"""The kinds of `training.parallel` of each backend. Each is possible on one machine and on several."""

TPU = frozenset({"jax"})
"""Backends that compute on TPUs: TensorFlow has had no build for them since 2.20, and PyTorch's is another package."""

ADDRESSES = frozenset({"tensorflow"})
"""Backends whose machines must know the addresses of all others, and not the coordinator's alone."""

PROCESS_PER_DEVICE = frozenset({"torch"})
"""Backends that have a process for each device, where the others have one for each machine."""


_MOST_LANES = 64


def lanes(batch_size: int) -> int:
    """Returns into how many lanes a split is cut (`elboflow.vae.training.order`).

    Each process reads whole lanes: as many processes, or a divisor of it, can share a batch of that size.
    """
    return math.gcd(batch_size, _MOST_LANES)


def impossible(training: TrainingConfig) -> str | None:
    """Returns why a backend cannot train in the way that `training.parallel` asks for, or None where it can."""
    if training.parallel is None or training.parallel.kind in PARALLEL[training.backend]:
        return None
    kind = training.parallel.kind
    able = ", ".join(backend for backend, kinds in PARALLEL.items() if kind in kinds)
    return (
        f"'{kind}' is not possible with training.backend {training.backend}, which can: "
        f"{', '.join(PARALLEL[training.backend])}; '{kind}' is possible with: {able}"
    )


def check(training: TrainingConfig, cluster: "Cluster | None" = None) -> None:
    """Looks whether a training is possible on its backend, on this machine alone or on those of a cluster.

    Raises:
        RequestError: It is not.
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
    """Returns why batches cannot be divided among machines, and the devices of each, or None where they can be."""
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
