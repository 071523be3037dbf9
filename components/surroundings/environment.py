"""What a step runs with: the version of the code, Python, and the packages that results depend on."""

import json
import platform
import re
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from components.surroundings.code_version import code_version
from elboflow.vae.compute import devices

MARK = "[elboflow environment] "
"""What the line begins with by which a step tells its environment in its log."""
_FRAMEWORKS = ("jax", "jaxlib", "torch", "tensorflow", "tensorflow-cpu")


def environment() -> dict[str, Any]:
    """Returns the environment of this process as JSON values; packages that are not installed are absent."""
    try:
        needed = [
            re.split(r"[^\w.-]", each, maxsplit=1)[0]
            for each in metadata.requires("elboflow") or ()
            if "extra ==" not in each
        ]
    except metadata.PackageNotFoundError:
        needed = []
    packages = {}
    for name in sorted({*needed, *_FRAMEWORKS}):
        try:
            packages[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {"code": code_version(), "Python": platform.python_version(), "packages": packages}


def of_training(device: str, hosts: int = 1, cpuinfo: Path = Path("/proc/cpuinfo")) -> dict[str, str]:
    """Returns what decides the weights of a training besides its settings, a version or a name each.

    Args:
        device: `training.device`.
        hosts: The number of hosts that train together.
        cpuinfo: Where the system describes its processors.
    """
    here = environment()
    gpus = [] if device == "cpu" else [gpu.name for gpu in devices.gpus()]
    found = (
        re.search(r"(?m)^model name\s*:\s*(.+)$", cpuinfo.read_text(encoding="utf-8")) if cpuinfo.is_file() else None
    )
    processor = found[1].strip() if found else platform.processor() or platform.machine()
    named = [f"{gpus.count(name)} × {name}" for name in dict.fromkeys(gpus)]
    hardware = {"hardware": ", ".join(named) or processor, "hosts": str(hosts)}
    return {"Python": here["Python"], **hardware, **here["packages"]}


def told(lines: Iterable[str]) -> dict[str, Any] | None:
    """Returns the environment that a step told in the lines of its log, the last if several tries did; or None."""
    found = None
    for line in lines:
        _, mark, text = line.partition(MARK)
        if mark:
            try:
                found = dict(json.loads(text))
            except (ValueError, TypeError):  # a line that was cut
                continue
    return found


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """Returns in what two environments differ, a phrase each."""
    ours, theirs = ({**side, **side.get("packages", {})} for side in (there, here))
    names = ["code", "Python", *sorted({*ours, *theirs} - {"code", "Python", "packages"})]
    pairs = [(name, ours.get(name), theirs.get(name)) for name in names]
    return [f"{name}: {then or 'none'} there, {now or 'none'} here" for name, then, now in pairs if then != now]
