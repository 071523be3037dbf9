"""The backend-specific code for TensorFlow, JAX and PyTorch: devices, compilation, and noise on the device.

Each backend is a folder. Its module `backend.py` implements `Backend` (`elboflow.vae.compute.contract`). Its module
`devices.py` has the function `start(training, cluster)`, which chooses the devices before Keras is imported.

The rest of `elboflow.vae` uses Keras. Keras reads its backend once, at import: call `use` before.
"""

import contextlib
import importlib
import importlib.util
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, cast

from elboflow.settings import RequestError
from elboflow.vae.compute import devices, keras_settings, parallelism
from elboflow.vae.compute.cluster import Cluster
from elboflow.vae.compute.contract import Backend
from elboflow.vae.config import TrainingConfig
from elboflow.vae.model import Model

if TYPE_CHECKING:  # each module imports its framework
    from elboflow.vae.compute.jax import backend as on_jax
    from elboflow.vae.compute.tensorflow import backend as on_tensorflow
    from elboflow.vae.compute.torch import backend as on_torch

    _backends: tuple[Backend, ...] = (on_jax, on_tensorflow, on_torch)  # mypy checks the protocol

logger = logging.getLogger("elboflow.training")

BACKENDS = {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch"}  # names by package

_is_started = False  # whether the devices have been chosen in this process

# The most decoder outputs in a compiled call of an evaluation: 16 MB of float32, so that also the logits of a
# categorical likelihood fit into memory. On MNIST, a quarter and four times this number are about as fast.
OUTPUTS_PER_CALL = 2**22


def use(backend: str, training: TrainingConfig | None = None, cluster: Cluster | None = None) -> None:
    """Imports Keras on a backend, and chooses the devices. Call it before any other import of Keras.

    It also sets Keras's global settings (`elboflow.vae.compute.keras_settings`).

    Args:
        backend: The name of the backend.
        training: The settings of a training, which choose the devices. By default the current devices of this process,
            or the first device.
        cluster: The machines of a distributed training; None for a single machine.

    Raises:
        RequestError: The backend is not installed, Keras already uses another backend in this process, there are no
            such devices, or this process already uses other devices.
        WorkError: The other machines cannot be reached.
    """
    if training is not None:
        parallelism.check(training, cluster)
    check(backend)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ["KERAS_BACKEND"] = backend
    if "keras" in sys.modules and current() != backend:
        raise RequestError(f"Keras already runs on {current()} in this process; {backend} needs another process")
    with _quiet() if sys.stderr.isatty() else contextlib.nullcontext(), keras_settings.unread():
        # In a log file, the output of the frameworks is kept.
        chosen = _start(backend, training, cluster)
        importlib.import_module("keras")
    keras_settings.settle()
    if training is not None:
        logger.info("training on %s (%s)", chosen, BACKENDS[backend])


def _start(backend: str, training: TrainingConfig | None, cluster: Cluster | None) -> str | None:
    """Chooses the devices, without importing Keras; returns a description for the log."""
    global _is_started
    if training is None and (_is_started or "keras" in sys.modules):
        return None
    wanted = training or TrainingConfig.model_validate({"backend": backend})
    if wanted.device in ("auto", "gpu"):
        _set_visible_gpus(wanted)
    chosen = importlib.import_module(f"elboflow.vae.compute.{backend}.devices").start(wanted, cluster)
    _is_started = True
    return chosen


def _set_visible_gpus(training: TrainingConfig) -> None:
    visible = training.gpu.visible_devices
    if visible is None and _is_started:
        return
    before = os.environ.get(devices.VISIBLE)
    devices.see(visible)
    if _is_started and os.environ.get(devices.VISIBLE) != before:
        raise RequestError(
            f"training.gpu.visible_devices: {', '.join(map(str, visible or ()))}; this process has chosen its devices "
            "already: start the training in another process"
        )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hides the output of frameworks on stderr during the import, unless the import fails."""
    sys.stderr.flush()
    shown = os.dup(2)
    with tempfile.TemporaryFile() as printed:
        os.dup2(printed.fileno(), 2)
        try:
            yield
        except BaseException:
            printed.seek(0)
            os.write(shown, printed.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(shown, 2)
            os.close(shown)


def check(backend: str) -> None:
    """Checks that a backend is installed, without importing it.

    Raises:
        RequestError: The backend is not installed.
    """
    if importlib.util.find_spec(backend) is None:
        raise RequestError(
            f"training.backend is {backend}, which is not installed here; install elboflow[{backend}], "
            f"or choose one of: {', '.join(filter(importlib.util.find_spec, BACKENDS))}"
        )


def running() -> str | None:
    """Returns the name of Keras's backend in this process, or None if Keras is not imported yet."""
    return current() if "keras" in sys.modules else None


def current() -> str:
    """Returns the name of Keras's backend."""
    import keras

    return keras.backend.backend()


def implementation() -> Backend:
    """Returns the implementation for Keras's backend."""
    return cast(Backend, importlib.import_module(f"elboflow.vae.compute.{current()}.backend"))


def compiled(model: Model, function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiles a function of arrays on Keras's backend; see `Backend.compiled`."""
    return implementation().compiled(model, function)


def program(model: Model, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiles a function of arrays once for a model, and caches it by name; see `Backend.compiled`."""
    if name not in model.programs:
        model.programs[name] = compiled(model, function)
    return model.programs[name]
