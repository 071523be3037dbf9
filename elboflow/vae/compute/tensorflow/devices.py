"""The devices of TensorFlow, on one machine or several. Configured before TensorFlow's first operation."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import tensorflow as tf

from elboflow.settings import RequestError, WorkError
from elboflow.vae.compute import parallelism
from elboflow.vae.compute.cluster import Cluster
from elboflow.vae.compute.tensorflow.distributed import join
from elboflow.vae.config import DataParallel, TrainingConfig


@dataclass(frozen=True)
class Placement:
    """The devices of a training.

    Attributes:
        strategy: The strategy over several devices; None for one device.
        cluster: The machines of a distributed training; None for a single machine.
    """

    strategy: tf.distribute.Strategy | None = None
    cluster: Cluster | None = None


_placement = Placement()


def placement() -> Placement:
    """Returns the devices that `start` chose, or TensorFlow's first device."""
    return _placement


def start(training: TrainingConfig, cluster: Cluster | None) -> str:
    """Chooses the devices of a training, and connects to the other machines.

    Returns:
        A description of the devices for the log.

    Raises:
        RequestError: There are no such devices, or too few, or this process already uses other devices.
        WorkError: The other machines cannot be reached.
    """
    global _placement
    kind = _kind(training.device)
    wanted = training.parallel.devices if isinstance(training.parallel, DataParallel) else 1
    devices = _gpus(training, wanted) if kind == "GPU" else _virtual_cpus(1 if wanted is None else wanted, cluster)
    if training.parallel is not None and (
        reason := parallelism.indivisible(training, cluster.processes if cluster else 1, len(devices))
    ):
        raise RequestError(reason)
    if cluster is not None:
        if _placement.cluster != cluster:
            _placement = Placement(_joined(cluster, len(devices) if kind == "GPU" else 0), cluster)
    elif len(devices) > 1:
        _placement = Placement(_mirrored(tuple(devices)))
    else:
        _placement = Placement()
    machines = f" of each of {cluster.processes} machines" if cluster else ""
    return f"{len(devices)} × {kind.lower()}{machines}"


def _kind(device: str) -> str:
    """Returns TensorFlow's name of a kind of device: GPU or CPU.

    Raises:
        RequestError: There is no GPU.
    """
    there = tf.config.list_physical_devices("GPU")
    if device == "gpu" and not there:
        why = "" if tf.test.is_built_with_cuda() else "; this TensorFlow is built for processors only"
        raise RequestError(
            f"training.device is gpu; the devices that TensorFlow finds here are: {_device_names()}{why}"
        )
    return "GPU" if there and device != "cpu" else "CPU"


def _device_names() -> str:
    return ", ".join(device.name.removeprefix("/physical_device:") for device in tf.config.list_physical_devices())


def _virtual_cpus(count: int, cluster: Cluster | None) -> list[str]:
    """Configures `count` virtual devices, which share the CPU; returns their names."""
    if cluster is not None and count > 1:
        raise RequestError(
            f"training.parallel.devices: {count}; where several machines train together, TensorFlow takes the "
            "processors of each as 1 device"
        )
    if tf.config.list_physical_devices("GPU"):
        _configure(partial(tf.config.set_visible_devices, [], "GPU"), "on its processors alone")
    if count > 1:
        cut = [tf.config.LogicalDeviceConfiguration() for _ in range(count)]
        processors = tf.config.list_physical_devices("CPU")[0]
        try:
            tf.config.set_logical_device_configuration(processors, cut)
        except RuntimeError:  # TensorFlow is already initialised, possibly with enough devices
            there = len(tf.config.list_logical_devices("CPU"))
            if there < count:
                raise _too_late(f"on {count} CPU devices", f"{there} of them") from None
    return [f"CPU:{number}" for number in range(count)]


def _gpus(training: TrainingConfig, wanted: int | None) -> list[str]:
    """Configures the GPUs and their memory limits; returns their names. `wanted` is the number, None for all."""
    there = tf.config.list_physical_devices("GPU")
    count = len(there) if wanted is None else wanted
    if count > len(there):
        raise RequestError(
            f"training.parallel.devices: {count}; the devices that TensorFlow finds here are: {_device_names()}"
        )
    gpu = training.gpu
    # TensorFlow reads the variable at its first operation. `set_memory_growth` cannot be combined with a limit.
    os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] = "true" if gpu.memory_growth else "false"
    if count < len(there) and training.parallel is not None:
        first = partial(tf.config.set_visible_devices, there[:count], "GPU")
        _configure(first, f"on {count} GPUs of {len(there)}")
    if gpu.memory_limit_megabytes is not None:
        limit = [tf.config.LogicalDeviceConfiguration(memory_limit=gpu.memory_limit_megabytes)]
        for device in there[:count]:
            limited = partial(tf.config.set_logical_device_configuration, device, limit)
            _configure(limited, f"within {gpu.memory_limit_megabytes} MB of each GPU")
    return [f"GPU:{number}" for number in range(count)]


def _configure(set_up: Callable[[], Any], what: str) -> None:
    try:
        set_up()
    except RuntimeError:
        devices = ", ".join(device.name.removeprefix("/device:") for device in tf.config.list_logical_devices())
        raise _too_late(what, devices) from None


def _too_late(what: str, has: str) -> RequestError:
    return RequestError(
        f"training is to be {what}, and in this process TensorFlow already computes on: {has}; "
        "start it in a process of its own"
    )


@cache
def _mirrored(devices: tuple[str, ...]) -> tf.distribute.Strategy:
    # The default, collective operations, supports only one group of devices in the life of a process.
    on_processors = tf.distribute.ReductionToOneDevice() if devices[0].startswith("CPU") else None
    return tf.distribute.MirroredStrategy(devices, cross_device_ops=on_processors)


def _joined(cluster: Cluster, gpus: int) -> tf.distribute.Strategy:
    try:
        return join(cluster, gpus)
    except WorkError:  # it is also a RuntimeError
        raise
    except RuntimeError:
        raise _too_late(f"with {cluster.processes} machines", "its own devices") from None
