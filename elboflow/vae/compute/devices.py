"""The GPUs that are visible to a process, set before a framework is imported."""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from elboflow.settings import RequestError

VISIBLE = "CUDA_VISIBLE_DEVICES"
"""The environment variable that lists the GPUs visible to CUDA, and so to every framework."""


@dataclass(frozen=True)
class GPU:
    """A GPU of this machine, as the driver describes it."""

    name: str
    megabytes: int


def gpus() -> list[GPU]:
    """Returns the GPUs of this machine from NVIDIA's driver; empty without a driver."""
    query = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(query, capture_output=True, encoding="utf-8", check=True, timeout=60).stdout
        described = [line.rsplit(",", 1) for line in said.splitlines() if line.strip()]
        return [GPU(name.strip(), int(megabytes)) for name, megabytes in described]
    except (OSError, ValueError, subprocess.SubprocessError):
        return []


_FILES = {"gpu": ("nvidia[0-9]*", "nvhost-gpu", "kfd", "dxg"), "tpu": ("accel[0-9]*", "vfio/[0-9]*")}
"""The device files of drivers: NVIDIA's, AMD's, and that of GPUs under Windows; those of TPUs."""


def require(device: str, root: Path = Path("/dev")) -> None:
    """Looks, without a framework, whether this machine has a driver of the devices that a training asks for.

    Args:
        device: `training.device`.
        root: Where the system keeps the files of its devices.

    Raises:
        RequestError: It has none. Only Linux can tell; elsewhere, the framework will.
    """
    if sys.platform != "linux" or device not in _FILES or any(any(root.glob(name)) for name in _FILES[device]):
        return
    raise RequestError(
        f"training.device: {device}; this machine has no driver of a {device.upper()}; choose auto or cpu"
    )


_seen: tuple[str | None, str] | None = None  # the variable's value before this process set it, and since


def see(visible: Sequence[int] | None) -> None:
    """Restricts the GPUs that are visible to frameworks, before a framework uses a GPU.

    Args:
        visible: The indices of the GPUs, among those in `CUDA_VISIBLE_DEVICES` if it is set; None for all of these.

    Raises:
        RequestError: There is no such GPU.
    """
    global _seen
    now = os.environ.get(VISIBLE)
    before = _seen[0] if _seen is not None and _seen[1] == now else now
    if visible is None:
        if before != now:
            os.environ.pop(VISIBLE) if before is None else os.environ.update({VISIBLE: before})
        return
    there = _known_gpus(before)
    if missing := [number for number in visible if number >= len(there)]:
        listed = ", ".join(f"{number} ({name})" for number, (_, name) in enumerate(there)) or "none"
        which = "of this machine" if before is None else f"that {VISIBLE}={before} lets this process see"
        raise RequestError(
            f"training.gpu.visible_devices: there is no GPU {', '.join(map(str, missing))}; the GPUs {which} are: "
            f"{listed}"
        )
    os.environ[VISIBLE] = ",".join(there[number][0] for number in visible)
    _seen = before, os.environ[VISIBLE]


def _known_gpus(before: str | None) -> list[tuple[str, str]]:
    """Returns CUDA's identifier and the model name of each GPU that this process might see."""
    names = [gpu.name for gpu in gpus()]
    if before is None:
        return [(str(number), name) for number, name in enumerate(names)]
    found = []
    for called in filter(None, map(str.strip, before.split(","))):
        if called.isdecimal():
            if int(called) >= len(names):  # CUDA ignores the rest of the list, too
                break
            found.append((called, names[int(called)]))
        elif called.startswith(("GPU-", "MIG-")) and names:
            found.append((called, called))
        else:
            break
    return found
