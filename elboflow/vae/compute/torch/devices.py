"""The devices of PyTorch. Configured before Keras is imported, because Keras creates all variables on one device."""

import os
from dataclasses import dataclass

import torch

from elboflow.settings import RequestError
from elboflow.settings.variables import TORCH_LOCAL_RANK
from elboflow.vae.compute import parallelism
from elboflow.vae.compute.cluster import Cluster
from elboflow.vae.config import GPU, DataParallel, TrainingConfig


@dataclass(frozen=True)
class Placement:
    """The device of a process.

    Attributes:
        device: The device of this process.
        local_world_size: The number of processes on this machine, each with its own device.
        local_rank: The index of this process on this machine; the others than 0 are workers, which 0 has started.
    """

    device: torch.device
    local_world_size: int = 1
    local_rank: int = 0


_placement: Placement | None = None


def placement() -> Placement:
    """Returns the device that `start` chose, or Keras's device."""
    if _placement is not None:
        return _placement
    from keras.src.backend.torch.core import get_device

    return Placement(torch.device(get_device()))


def start(training: TrainingConfig, cluster: Cluster | None) -> str:
    """Chooses the devices of a training.

    Returns:
        A description of the devices for the log.

    Raises:
        RequestError: There are no such devices, or too few.
    """
    global _placement
    kind = _device_type(training.device)
    there = torch.cuda.device_count() if kind == "cuda" else 1
    local_world_size = _local_world_size(training, kind, there)
    if training.parallel is not None and (
        reason := parallelism.indivisible(training, cluster.processes if cluster else 1, local_world_size)
    ):
        raise RequestError(reason)
    local_rank = int(os.environ.get(TORCH_LOCAL_RANK, "0"))
    device = torch.device(kind, local_rank) if kind == "cuda" else torch.device(kind)
    os.environ["KERAS_TORCH_DEVICE"] = str(device)
    if kind == "cuda":
        torch.cuda.set_device(device)
        _allocate_memory(training.gpu, device)
    _placement = Placement(device, local_world_size, local_rank)
    name = torch.cuda.get_device_name(device) if kind == "cuda" else kind
    machines = f" of each of {cluster.processes} machines" if cluster and not local_rank else ""
    return f"{local_world_size} × {name}{machines}"


def _device_type(device: str) -> str:
    """Returns PyTorch's name of a kind of device.

    Raises:
        RequestError: There is no device of this kind.
    """
    has_gpu = torch.cuda.is_available()
    if device == "cpu" or (device == "auto" and not has_gpu):
        return "cpu"
    if device == "tpu" or not has_gpu:
        names = [f"cuda:{number}" for number in range(torch.cuda.device_count())] if has_gpu else []
        raise RequestError(
            f"training.device is {device}; the devices that PyTorch finds here are: {', '.join(['cpu', *names])}"
        )
    return "cuda"


def _local_world_size(training: TrainingConfig, kind: str, there: int) -> int:
    if not isinstance(training.parallel, DataParallel):
        return 1
    wanted = training.parallel.devices
    if kind == "cuda" and wanted is not None and wanted > there:
        raise RequestError(
            f"training.parallel.devices is {wanted}; the GPUs that PyTorch finds here are: "
            f"{', '.join(f'cuda:{number}' for number in range(there))}"
        )
    return wanted or there


def _allocate_memory(gpu: GPU, device: torch.device) -> None:
    """Limits the memory of a GPU, and allocates it at once unless `memory_growth` is set."""
    most = total = torch.cuda.get_device_properties(device).total_memory
    if gpu.memory_limit_megabytes is not None:
        most = min(most, gpu.memory_limit_megabytes * 2**20)
        torch.cuda.set_per_process_memory_fraction(most / total, device)
    if not gpu.memory_growth:
        free, _ = torch.cuda.mem_get_info(device)
        torch.empty(int(0.9 * min(free, most)), dtype=torch.uint8, device=device)  # stays in PyTorch's cache
