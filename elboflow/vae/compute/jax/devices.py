"""The devices of JAX, on one machine or several. Configured before Keras is imported."""

import logging
import os
from dataclasses import dataclass

import jax
import numpy as np

from elboflow.settings import RequestError
from elboflow.settings.terminal import one_line
from elboflow.settings.text import counted
from elboflow.vae.compute import devices, parallelism
from elboflow.vae.compute.cluster import Cluster
from elboflow.vae.compute.jax.distributed import join
from elboflow.vae.config import DataParallel, ModelParallel, TrainingConfig

logger = logging.getLogger("elboflow.training")


_PLATFORMS = "JAX_PLATFORMS"


@dataclass(frozen=True)
class Placement:
    """The devices of a training.

    Attributes:
        devices: The devices of all machines: `[data]`, which split the batches, or `[data, model]`, in which the
            devices of a row split the weights.
        parallel: The kind of parallelism; None for one device.
    """

    devices: np.ndarray
    parallel: DataParallel | ModelParallel | None


_placement: Placement | None = None


def placement() -> Placement:
    """Returns the devices that `start` chose, or JAX's first device."""
    return _placement or Placement(np.array(jax.local_devices()[:1]), None)


def start(training: TrainingConfig, cluster: Cluster | None) -> str:
    """Chooses the devices of a training, and connects to the other machines.

    Returns:
        A description of the devices for the log.

    Raises:
        RequestError: There are no such devices, or too few.
        WorkError: The other machines cannot be reached.
    """
    global _placement
    wanted = _devices_per_machine(training.parallel, cluster.processes if cluster else 1)
    _configure(training, wanted)
    if cluster is not None:
        join(cluster)
    local = _local_devices(training.device)
    parallel = training.parallel
    if parallel is None:
        _placement = Placement(np.array(local[:1]), None)
        return f"1 × {local[0].device_kind}" + (f" of {len(local)}" if len(local) > 1 else "")
    count = wanted or len(local)
    if count > len(local):
        raise RequestError(
            f"training.parallel asks for {counted(count, 'device')} of "
            f"{'each' if cluster else 'this'} machine; {_device_names(local)}"
        )
    sharing = count // parallel.model if isinstance(parallel, ModelParallel) else count
    if reason := parallelism.indivisible(training, cluster.processes if cluster else 1, sharing):
        raise RequestError(reason)
    found = _of_all_machines(local[0].platform, count)
    shape = (-1, parallel.model) if isinstance(parallel, ModelParallel) else (-1,)
    _placement = Placement(found.reshape(shape), parallel)
    machines = f" of each of {cluster.processes} machines" if cluster else ""
    return f"{count} × {local[0].device_kind}{machines}"


def _devices_per_machine(parallel: DataParallel | ModelParallel | None, machines: int) -> int | None:
    """Returns the number of devices of each machine that the settings ask for; None for all."""
    match parallel:
        case DataParallel():
            return parallel.devices
        case ModelParallel():
            return parallel.data * parallel.model // machines
        case None:
            return 1


def _configure(training: TrainingConfig, wanted: int | None) -> None:
    gpu = training.gpu
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false" if gpu.memory_growth else "true"
    if gpu.memory_limit_megabytes and training.device in ("auto", "gpu"):
        _limit_memory(gpu.memory_limit_megabytes)
    options: dict[str, str | int] = {"jax_platforms": "cpu"} if training.device == "cpu" else {}
    if wanted is not None:
        options["jax_num_cpu_devices"] = wanted
    for name, value in options.items():
        try:
            jax.config.update(name, value)
        except RuntimeError:  # JAX is already initialised in this process; `start` checks the devices
            logger.debug("%s cannot be changed any more", name)


def _limit_memory(megabytes: int) -> None:
    """Limits the memory on each GPU. JAX's setting is a fraction, so the limit refers to the smallest GPU."""
    least = min((gpu.megabytes for gpu in devices.gpus()), default=None)
    if least is not None:
        os.environ["XLA_PYTHON_CLIENT_MEM_FRACTION"] = f"{min(1.0, megabytes / least):.4f}"


def _local_devices(device: str) -> list[jax.Device]:
    """Returns the devices of a kind on this machine.

    Raises:
        RequestError: There are none.
    """
    try:
        local = jax.local_devices()
    except (RuntimeError, AssertionError) as error:  # an AssertionError has no message
        platforms = os.environ.get(_PLATFORMS)
        asked = f"{_PLATFORMS} is {platforms!r}: " if platforms else ""
        said = one_line(str(error).partition("\n")[0])
        raise RequestError(
            f"{asked}JAX finds no such devices here{f' ({said})' if said else ''}; "
            f"unset {_PLATFORMS}, or name one that is there: cpu"
        ) from None
    if device not in ("auto", local[0].platform):
        raise RequestError(f"training.device is {device}; {_device_names(local)}")
    return local


def _of_all_machines(platform: str, count: int) -> np.ndarray:
    """Returns the first `count` devices of each machine, `[machines, count]`.

    Raises:
        RequestError: A machine has fewer.
    """
    by_machine: dict[int, list[jax.Device]] = {}
    for device in sorted(jax.devices(platform), key=lambda device: (device.process_index, device.id)):
        by_machine.setdefault(device.process_index, []).append(device)
    for index, own in by_machine.items():
        if len(own) < count:
            raise RequestError(
                f"training.parallel takes {counted(count, 'device')} of each machine; machine {index} has {len(own)}"
            )
    return np.array([own[:count] for own in by_machine.values()])


def _device_names(devices: list[jax.Device]) -> str:
    names = ", ".join(f"{device.platform}:{device.id}" for device in devices)
    return f"the devices that JAX finds here are: {names}"
