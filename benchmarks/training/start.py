"""How long a training takes to begin: from the start of its process to the end of its first step.

    python -m benchmarks.training.start import|train BACKEND [DATASET OUTPUT [MLFLOW]]

Two kinds of process are timed in turn: `import` imports Keras on its framework and no more; `train` trains as a
pipeline's step does, through `components.train.train`, with curves in MLflow where one is given. The difference is the
product's own. Both print the time at which they were there, on the clock that all processes of a machine share.
"""

import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

from benchmarks.training.race import ROOT


def seconds(kind: str, backend: str, *places: Path | str) -> float:
    """Starts a process of a kind and returns the seconds until it was there; then it is ended."""
    command = [sys.executable, "-m", "benchmarks.training.start", kind, backend, *map(str, places)]
    started = time.monotonic()
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8"
    ) as process:
        assert process.stdout
        line = process.stdout.readline()
        process.kill()
        if not line:
            raise RuntimeError(f"{' '.join(command)} ended: {process.communicate()[1][-4000:]}")
    return float(line) - started


def installed(backend: str) -> bool:
    """Returns whether this environment has the backend."""
    return find_spec(backend) is not None


def _there() -> None:
    print(time.monotonic(), flush=True)


def _import(backend: str) -> None:
    import os

    os.environ["KERAS_BACKEND"] = backend
    import keras

    assert keras.backend.backend() == backend
    _there()


def _train(backend: str, dataset: str, output: str, mlflow: str | None = None) -> None:
    from benchmarks.training.setting import BATCH, mlp
    from components.tracking.live import Tracking
    from components.train import Monitoring, train
    from elboflow.vae import compute
    from elboflow.vae.config import TrainingConfig

    found = compute.implementation
    # The loop is imported after this, and finds what stands here.
    cast(Any, compute).implementation = lambda: _Timed(found())
    monitoring = Monitoring(tracking=Tracking(mlflow, "start") if mlflow else None)
    training = TrainingConfig(backend=backend, batch_size=BATCH, epochs=1)
    train(dataset, output, mlp(), training, 0, monitoring=monitoring)


class _Timed:
    """A backend that says when its steps were called for the first time."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def training(self, *given: Any) -> "_TimedSteps":
        return _TimedSteps(self._backend.training(*given))


class _TimedSteps:
    def __init__(self, steps: Any) -> None:
        self._steps, self.to_device = steps, steps.to_device

    def __call__(self, *given: Any) -> Any:
        measures = self._steps(*given)
        _there()
        return measures


if __name__ == "__main__":
    kind, *given = sys.argv[1:]
    if kind == "import":
        _import(*given)
    else:
        _train(*given)
