"""This machine: Python, the installed packages, the accelerators, and the workspace."""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from pipelines.targets.checks import SECONDS, Finding

OLDEST = (3, 11)
INSTALL = "pip install -c constraints.txt"
ROOM = 2e9  # bytes: a few runs of a small experiment, with their datasets, checkpoints and models
# A framework takes seconds to import, so it is asked only where there is something to see, and in its own process.
_SEEN = {
    "tensorflow": "import tensorflow as t; print(len(t.config.list_physical_devices('GPU')))",
    "jax": "import jax; print(sum(d.platform in ('gpu', 'tpu') for d in jax.local_devices()))",
    "torch": "import torch; print(torch.cuda.device_count())",
}
_REMEDY = {
    "tensorflow": "pip install 'tensorflow[and-cuda]', or choose training.backend: jax",
    "jax": "pip install 'jax[cuda12]' for GPUs, 'jax[tpu]' for TPUs",
    "torch": "install PyTorch's build for CUDA: pytorch.org/get-started",
}
FRAMEWORK_SECONDS = 80.0


def python() -> Finding:
    """Looks at the version of Python."""
    found = f"{platform.python_version()} ({sys.executable})"
    if sys.version_info < OLDEST:
        return Finding("Python", "problem", found, f"install Python {'.'.join(map(str, OLDEST))} or newer")
    return Finding("Python", "ok", found)


def packages(backend: str) -> Iterator[Finding]:
    """Looks whether each package that the project, and a backend, needs is there in a version that will do."""
    wanted = [Requirement(text) for text in metadata.requires("elboflow") or []]
    extras = {"extra": "" if backend == "tensorflow" else backend}
    wanted = [each for each in wanted if each.marker is None or each.marker.evaluate(extras)]
    problems = list(filter(None, map(_wrong, wanted)))
    yield from problems
    if not problems:
        pinned = tested(Path(__file__).parents[2] / "constraints.txt")
        here = {each.name.lower(): metadata.version(each.name) for each in wanted}
        other = [f"{name} {found}" for name, found in here.items() if pinned.get(name, found) != found]
        tail = f"; other versions than those tested: {', '.join(sorted(other))}" if other else ""
        yield Finding("packages", "ok", f"all {len(wanted)} that are needed are here{tail}")


def tested(constraints: Path) -> dict[str, str]:
    """Returns the versions that a file of pins names; none where there is no such file, as beside a wheel."""
    if not constraints.is_file():
        return {}
    lines = [line.partition("#")[0].strip() for line in constraints.read_text(encoding="utf-8").splitlines()]
    return {name.lower(): version for name, equals, version in (line.partition("==") for line in lines) if equals}


def _wrong(wanted: Requirement) -> Finding | None:
    found = _version(wanted.name)
    if found is not None and wanted.specifier.contains(found, prereleases=True):
        return None
    needed = f"{wanted.name}{wanted.specifier}"
    said = "is not installed" if found is None else f"is installed as {found}; needed: {wanted.specifier}"
    return Finding(f"package {wanted.name}", "problem", said, f"{INSTALL} '{needed}'")


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def devices(backend: str, root: Path = Path("/dev")) -> Finding:
    """Looks at the accelerators of this machine, whose devices are in `root`, and whether the backend sees them."""
    gpus, tpus = _gpus(root), len(list(root.glob("accel[0-9]*"))) or len(list(root.glob("vfio/[0-9]*")))
    cores = f"{len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()} CPU cores"
    if not gpus and not tpus:
        return Finding("devices", "ok", f"{cores}; no GPU or TPU here")
    there = [*gpus, *([f"{tpus} TPU chips"] if tpus else [])]
    seen = _seen(backend)
    found = f"{cores}; {', '.join(there)}"
    if seen:
        return Finding("devices", "ok", f"{found}; {backend} sees {seen}")
    said = "does not see them" if seen == 0 else "could not be asked about them"
    return Finding("devices", "problem", f"{found}; {backend} {said}", _REMEDY[backend])


def _gpus(root: Path) -> list[str]:
    try:
        command = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
        listed = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=SECONDS)
        if listed.returncode == 0:
            return [line.strip().replace(",", "") for line in listed.stdout.splitlines() if line.strip()]
    except (OSError, subprocess.TimeoutExpired):
        pass
    return [f"{path.name}, which nvidia-smi cannot tell about" for path in sorted(root.glob("nvidia[0-9]*"))]


def _seen(backend: str) -> int | None:
    try:
        command = [sys.executable, "-c", _SEEN[backend]]
        asked = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=FRAMEWORK_SECONDS)
        return int(asked.stdout.split()[-1])
    except (OSError, subprocess.TimeoutExpired, ValueError, IndexError):
        return None


def workspace(folder: Path) -> Finding:
    """Looks at the folder that holds everything local runs make, or where it would be made."""
    what, place = f"workspace {folder}", folder.absolute()
    while not place.exists():
        place = place.parent
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(b"x")
    except OSError as error:
        remedy = "choose another with --workspace, or its owner gives you the right to write"
        return Finding(what, "problem", f"cannot be written to: {error.strerror}", remedy)
    free = shutil.disk_usage(place).free
    made = "" if folder.exists() else "will be made; "
    found = f"{made}{free / 1e9:,.1f} GB free"
    if free < ROOM:
        return Finding(
            what, "problem", found, f"make room for at least {ROOM / 1e9:g} GB, or choose another --workspace"
        )
    return Finding(what, "ok", found)
