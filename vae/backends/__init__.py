"""What must differ between TensorFlow, JAX and PyTorch: compiling, and drawing noise on the device.

Each backend is a file `on_NAME.py` with the same functions, with what it needs in files `NAME_….py` beside it:

* `compiled(model, function)` makes a function of arrays fast;
* `training(step, seed)` returns `Steps`, which runs many training steps in one call;
* `together`, `scope`, `agreed` and `values` are about the devices and processes that train together;
* `memory` and `profiled`, about the device and where the time goes;
* `start(training, cluster)`, in `NAME_devices.py`, chooses the devices before Keras is imported.

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
from types import ModuleType
from typing import Any, Protocol

import numpy as np

from settings import RequestError
from vae import abilities
from vae.backends import devices
from vae.backends.cluster import Cluster
from vae.config import TrainingConfig
from vae.data import Examples

logger = logging.getLogger("elboflow.training")

BACKENDS = {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch"}  # packages, and what they are called

_is_started = False  # whether the devices have been chosen in this process

# Numbers that the decoder may make in one compiled call of an evaluation: 16 MB of float32, so that also the logits of
# a categorical likelihood fit in memory. On MNIST, a quarter and four times of it are about as fast.
OUTPUTS_PER_CALL = 2**22


class Steps(Protocol):
    """Runs many training steps in one call."""

    def hold(self, examples: Examples, capacity: int) -> Any:
        """Copies examples to the devices, in arrays of one capacity whatever their number: what is compiled serves all.

        Returns at once where the framework copies in the background.
        """

    def __call__(self, held: Any, rows: np.ndarray, first_step: int, count: int, factor: float) -> np.ndarray:
        """Updates model and optimizer; returns each step's `vae.training.step.MEASURES`, float32 `[count, measures]`.

        Args:
            held: What `hold` returned.
            rows: The examples of each step, int32 `[capacity, batch]`, of which the first `count` are used. One
                capacity compiles once, whatever the count. The batch is this process's part.
            first_step: Number of the first step, from 0 at the start of training; with the seed it fixes all noise.
            count: Number of steps.
            factor: What the schedule's learning rate is multiplied by.
        """


def filled(examples: Examples, capacity: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns images and weights of examples, filled up to a capacity."""
    weights = np.ones(len(examples), np.float32) if examples.weights is None else examples.weights
    if len(examples) == capacity:
        return examples.images, weights
    missing = capacity - len(examples)
    return np.pad(examples.images, [(0, missing), (0, 0), (0, 0), (0, 0)]), np.pad(weights, (0, missing))


def use(backend: str, training: TrainingConfig | None = None, cluster: Cluster | None = None) -> None:
    """Imports Keras on a backend, on the devices of a training. Must be called before anything else imports Keras.

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
        abilities.check(training, cluster)
    check(backend)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ["KERAS_BACKEND"] = backend
    if "keras" in sys.modules and current() != backend:
        raise RequestError(f"Keras already runs on {current()} in this process; {backend} needs a process of its own")
    with _quiet() if sys.stderr.isatty() else contextlib.nullcontext():  # a log keeps everything
        chosen = _start(backend, training, cluster)
        importlib.import_module("keras")
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
    chosen = importlib.import_module(f"vae.backends.{backend}_devices").start(wanted, cluster)
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


def current() -> str:
    """Returns the backend that Keras runs on."""
    import keras

    return keras.backend.backend()


def implementation() -> ModuleType:
    """Returns the file of the backend that Keras runs on."""
    return importlib.import_module(f"vae.backends.on_{current()}")


def compiled(model: Any, function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiles a function of arrays that uses the model; its weights are read at each call.

    Args:
        model: The Keras model whose weights the function uses.
        function: Takes tensors and returns a tensor or a tuple of tensors.

    Returns:
        A function that takes NumPy arrays and returns NumPy arrays in the same structure.
    """
    return implementation().compiled(model, function)
