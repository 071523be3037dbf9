"""What must differ between TensorFlow, JAX and PyTorch: compiling, and drawing noise on the device.

Each backend is a file `on_NAME.py`, which is a `Backend`, with what it needs in files `NAME_….py` beside it. One of
these, `NAME_devices.py`, has `start(training, cluster)`, which chooses the devices before Keras is imported.

The rest of the room is written in Keras. Keras reads its backend once, when it is imported: call `use` before.
"""

import contextlib
import importlib
import importlib.util
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np

from elboflow.settings import RequestError
from elboflow.vae import abilities
from elboflow.vae.backends import devices, keras_settings
from elboflow.vae.backends.cluster import Cluster
from elboflow.vae.config import TrainingConfig
from elboflow.vae.data import Examples

if TYPE_CHECKING:  # all of these import Keras
    import keras

    from elboflow.vae.backends import on_jax, on_tensorflow, on_torch
    from elboflow.vae.training.job import Job
    from elboflow.vae.training.step import TrainingStep

logger = logging.getLogger("elboflow.training")

BACKENDS = {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch"}  # packages, and what they are called

_is_started = False  # whether the devices have been chosen in this process

# Numbers that the decoder may make in one compiled call of an evaluation: 16 MB of float32, so that also the logits of
# a categorical likelihood fit in memory. On MNIST, a quarter and four times of it are about as fast.
OUTPUTS_PER_CALL = 2**22


class Steps(Protocol):
    """Runs many training steps in one call."""

    def hold(self, examples: Examples, capacity: int) -> Any:
        """Copies examples to the devices. Pads to a fixed capacity, so that the step compiles once.

        Returns at once where the framework copies in the background.
        """

    def __call__(self, held: Any, rows: np.ndarray, first_step: int, count: int, factor: float) -> np.ndarray:
        """Updates model and optimizer; returns its `MEASURES` (`elboflow.vae.training.step`), float32 `[count, …]`.

        Args:
            held: What `hold` returned.
            rows: The examples of each step, int32 `[capacity, batch]`, of which the first `count` are used. One
                capacity compiles once, for any count. The batch is this process's part.
            first_step: Number of the first step, from 0 at the start of training; with the seed it fixes all noise.
            count: Number of steps.
            factor: What the schedule's learning rate is multiplied by.
        """


class Backend(Protocol):
    """What a file `on_NAME.py` has: all that differs between backends once Keras is imported."""

    def compiled(self, model: "keras.Model", function: Callable[..., Any]) -> Callable[..., Any]:
        """Compiles a function of arrays that uses the model; its weights are read at each call.

        Args:
            model: The model whose weights the function uses.
            function: Takes tensors and returns a tensor or a tuple of tensors.

        Returns:
            A function that takes NumPy arrays and returns NumPy arrays in the same structure.
        """

    def training(self, step: "TrainingStep", seed: int) -> Steps:
        """Returns what runs training steps on the devices that were chosen.

        Args:
            step: What a step computes. Its optimizer is built here.
            seed: Fixes all noise, with the step's number.
        """

    def together(self, job: "Job", cluster: Cluster | None) -> AbstractContextManager[Cluster | None]:
        """Surrounds a training with the processes that do it, and yields them; None where this one is alone.

        Args:
            job: The training, for processes that are started here, one for each further device of this machine.
            cluster: The machines that train together, if they are several, with one process each.

        Raises:
            WorkError: The others did not come, or one of them is gone.
        """

    def scope(self) -> AbstractContextManager[None]:
        """Surrounds the making of all that computes a training, and its work, so that it lies on its devices."""

    def agreed(self, numbers: np.ndarray) -> np.ndarray:
        """Returns the largest of each number over all processes, which all call this at the same point.

        Args:
            numbers: Those of this process, float64, of any shape.

        Raises:
            WorkError: One of the processes is gone.
        """

    def values(self, variables: "Sequence[keras.Variable]") -> list[np.ndarray]:
        """Copies variables to the host; those that are divided over devices, whole."""

    def memory(self) -> int | None:
        """Returns the bytes in use on the first device of this process; None where it does not tell."""

    def profiled(self, folder: Path) -> AbstractContextManager[None]:
        """Writes a profile of what runs in the block into a folder."""


if TYPE_CHECKING:
    _each: tuple[Backend, ...] = (on_jax, on_tensorflow, on_torch)  # mypy looks whether they are


def filled(examples: Examples, capacity: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns images and weights of examples, filled up to a capacity."""
    weights = np.ones(len(examples), np.float32) if examples.weights is None else examples.weights
    if len(examples) == capacity:
        return examples.images, weights
    missing = capacity - len(examples)
    return np.pad(examples.images, [(0, missing), (0, 0), (0, 0), (0, 0)]), np.pad(weights, (0, missing))


def use(backend: str, training: TrainingConfig | None = None, cluster: Cluster | None = None) -> None:
    """Imports Keras on a backend, on the devices of a training. Must be called before anything else imports Keras.

    Keras's global settings are this program's from then on (`elboflow.vae.backends.keras_settings`).

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
    chosen = importlib.import_module(f"elboflow.vae.backends.{backend}_devices").start(wanted, cluster)
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
    return cast(Backend, importlib.import_module(f"elboflow.vae.backends.on_{current()}"))


def compiled(model: Any, function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiles a function of arrays on the backend that Keras runs on; see `Backend.compiled`."""
    return implementation().compiled(model, function)
