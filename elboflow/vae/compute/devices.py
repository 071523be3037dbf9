"""Which GPUs a process may see, of those that are there; settled before any framework is imported."""

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from elboflow.settings import RequestError

VISIBLE = "CUDA_VISIBLE_DEVICES"
"""The environment variable by which CUDA, and with it every framework, is told which GPUs there are."""


@dataclass(frozen=True)
class GPU:
    """A GPU of this machine, as its driver describes it."""

    name: str
    megabytes: int


def gpus() -> list[GPU]:
    """Returns the GPUs of this machine that NVIDIA's driver knows; none where there is no driver."""
    query = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(query, capture_output=True, encoding="utf-8", check=True, timeout=60).stdout
        described = [line.rsplit(",", 1) for line in said.splitlines() if line.strip()]
        return [GPU(name.strip(), int(megabytes)) for name, megabytes in described]
    except (OSError, ValueError, subprocess.SubprocessError):
        return []


_seen: tuple[str | None, str] | None = None  # what the variable was before this process set it, and what it is since


def see(visible: Sequence[int] | None) -> None:
    """Lets frameworks that have not begun to compute see some GPUs only.

    Args:
        visible: Their numbers, among those that `CUDA_VISIBLE_DEVICES` lists where it is set; None: all of these.

    Raises:
        RequestError: They are not there.
    """
    global _seen
    now = os.environ.get(VISIBLE)
    before = _seen[0] if _seen is not None and _seen[1] == now else now
    if visible is None:
        if before != now:
            os.environ.pop(VISIBLE) if before is None else os.environ.update({VISIBLE: before})
        return
    there = _there(before)
    if missing := [number for number in visible if number >= len(there)]:
        listed = ", ".join(f"{number} ({name})" for number, (_, name) in enumerate(there)) or "none"
        which = "of this machine" if before is None else f"that {VISIBLE}={before} lets this process see"
        raise RequestError(
            f"training.gpu.visible_devices: there is no GPU {', '.join(map(str, missing))}; the GPUs {which} are: "
            f"{listed}"
        )
    os.environ[VISIBLE] = ",".join(there[number][0] for number in visible)
    _seen = before, os.environ[VISIBLE]


def _there(before: str | None) -> list[tuple[str, str]]:
    """Returns how CUDA calls each GPU that this process might see, and the name of its kind."""
    names = [gpu.name for gpu in gpus()]
    if before is None:
        return [(str(number), name) for number, name in enumerate(names)]
    found = []
    for called in filter(None, map(str.strip, before.split(","))):
        if called.isdecimal():
            if int(called) >= len(names):  # CUDA itself goes no further, either
                break
            found.append((called, names[int(called)]))
        elif called.startswith(("GPU-", "MIG-")) and names:
            found.append((called, called))
        else:
            break
    return found
