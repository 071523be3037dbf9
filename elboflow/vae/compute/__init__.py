"""What must differ between TensorFlow, JAX and PyTorch: compiling, and drawing noise on the device.

Each backend is a folder. Its `backend.py` is a `Backend` (`elboflow.vae.compute.contract`); its `devices.py` has
`start(training, cluster)`, which chooses the devices before Keras is imported.

The rest of the room is written in Keras. Keras reads its backend once, when it is imported: call `use` before.
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

if TYPE_CHECKING:  # each imports its framework
    from elboflow.vae.compute.jax import backend as on_jax
    from elboflow.vae.compute.tensorflow import backend as on_tensorflow
    from elboflow.vae.compute.torch import backend as on_torch

    _each: tuple[Backend, ...] = (on_jax, on_tensorflow, on_torch)  # mypy looks whether they are

logger = logging.getLogger("elboflow.training")

BACKENDS = {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch"}  # packages, and what they are called

_is_started = False  # whether the devices have been chosen in this process

# Numbers that the decoder may make in one compiled call of an evaluation: 16 MB of float32, so that also the logits of
# a categorical likelihood fit in memory. On MNIST, a quarter and four times of it are about as fast.
OUTPUTS_PER_CALL = 2**22


def use(backend: str, training: TrainingConfig | None = None, cluster: Cluster | None = None) -> None:
    """Imports Keras on a backend, on the devices of a training. Must be called before anything else imports Keras.

    Keras's global settings are this program's from then on (`elboflow.vae.compute.keras_settings`).

    Args:
        backend: Its name.
        training: The devices, and how much of them; by default what this process computes on already, or the first of
            those that there are.
        cluster: The machines that train together, if they are several.

    Raises:
        RequestError: The backend is not installed, or Keras already runs on another one in this process; or there are
            no such devices, or this process already computes on others.
        WorkError: The other machines cannot be reached.
    """
    if training is not None:
        parallelism.check(training, cluster)
    check(backend)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ["KERAS_BACKEND"] = backend
    if "keras" in sys.modules and current() != backend:
        raise RequestError(f"Keras already runs on {current()} in this process; {backend} needs a process of its own")
    with _quiet() if sys.stderr.isatty() else contextlib.nullcontext(), keras_settings.unread():
        # A log keeps everything that is printed.
        chosen = _start(backend, training, cluster)
        importlib.import_module("keras")
    keras_settings.settle()
    if training is not None:
        logger.info("training on %s (%s)", chosen, BACKENDS[backend])


def _start(backend: str, training: TrainingConfig | None, cluster: Cluster | None) -> str | None:
    """Chooses the devices, without importing Keras; returns what was chosen, for people."""
    global _is_started
    if training is None and (_is_started or "keras" in sys.modules):
        return None
    wanted = training or TrainingConfig.model_validate({"backend": backend})
    if wanted.device in ("auto", "gpu"):
        _see(wanted)
    chosen = importlib.import_module(f"elboflow.vae.compute.{backend}.devices").start(wanted, cluster)
    _is_started = True
    return chosen


def _see(training: TrainingConfig) -> None:
    visible = training.gpu.visible_devices
    if visible is None and _is_started:
        return
    before = os.environ.get(devices.VISIBLE)
    devices.see(visible)
    if _is_started and os.environ.get(devices.VISIBLE) != before:
        raise RequestError(
            f"training.gpu.visible_devices: {', '.join(map(str, visible or ()))}; this process has chosen its devices "
            "already: start the training in a process of its own"
        )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps what frameworks print while they are imported off a person's screen, unless the import fails."""
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
    """Looks whether a backend is installed, without importing it.

    Raises:
        RequestError: It is not.
    """
    if importlib.util.find_spec(backend) is None:
        raise RequestError(
            f"training.backend is {backend}, which is not installed here; install elboflow[{backend}], "
            f"or choose one of: {', '.join(filter(importlib.util.find_spec, BACKENDS))}"
        )


def running() -> str | None:
    """Returns the backend that Keras runs on in this process, or None where it is not imported yet."""
    return current() if "keras" in sys.modules else None


def current() -> str:
    """Returns the backend that Keras runs on."""
    import keras

    return keras.backend.backend()


def implementation() -> Backend:
    """Returns the backend that Keras runs on."""
    return cast(Backend, importlib.import_module(f"elboflow.vae.compute.{current()}.backend"))


def compiled(model: Model, function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiles a function of arrays on the backend that Keras runs on; see `Backend.compiled`."""
    return implementation().compiled(model, function)


def program(model: Model, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiles a function of arrays once for a model, under a name; see `Backend.compiled`."""
    if name not in model.programs:
        model.programs[name] = compiled(model, function)
    return model.programs[name]
