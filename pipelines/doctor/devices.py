"""What there is to compute on, and whether the framework sees it."""

import os
import subprocess
import sys
from pathlib import Path

from pipelines.targets.checks import SECONDS, Finding

# A framework takes seconds to import, so it is asked only where there is something to see, and in its own process.
_SEEN = {
    "tensorflow": "import tensorflow as t; print(len(t.config.list_physical_devices('GPU')))",
    "jax": "import jax; print(sum(d.platform in ('gpu', 'tpu') for d in jax.local_devices()))",
    "torch": "import torch; print(torch.cuda.device_count())",
}
_MEND = {
    "tensorflow": "pip install 'tensorflow[and-cuda]', or choose training.backend: jax",
    "jax": "pip install 'jax[cuda12]' for GPUs, 'jax[tpu]' for TPUs",
    "torch": "install PyTorch's build for CUDA: pytorch.org/get-started",
}
FRAMEWORK_PATIENCE = 80.0


def devices(backend: str, root: Path = Path("/dev")) -> Finding:
    """Looks at the accelerators of this machine.

    Args:
        backend: The framework that is to compute on them.
        root: Where the system keeps its devices.
    """
    gpus, tpus = _gpus(root), len(list(root.glob("accel[0-9]*"))) or len(list(root.glob("vfio/[0-9]*")))
    cores = f"{len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()} CPU cores"
    if not gpus and not tpus:
        return Finding("devices", "well", f"{cores}; no GPU or TPU here")
    there = [*gpus, *([f"{tpus} TPU chips"] if tpus else [])]
    seen = _seen(backend)
    found = f"{cores}; {', '.join(there)}"
    if seen:
        return Finding("devices", "well", f"{found}; {backend} sees {seen}")
    said = "does not see them" if seen == 0 else "could not be asked about them"
    return Finding("devices", "ill", f"{found}; {backend} {said}", _MEND[backend])


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
        asked = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=FRAMEWORK_PATIENCE)
        return int(asked.stdout.split()[-1])
    except (OSError, subprocess.TimeoutExpired, ValueError, IndexError):
        return None
