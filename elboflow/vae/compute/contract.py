"""The interface of a backend, and a training as every process gets it."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from elboflow.vae.compute.cluster import Cluster
from elboflow.vae.compute.training_step import TrainingStep
from elboflow.vae.config import TrainingConfig
from elboflow.vae.data import Examples, Source
from elboflow.vae.model import Model, ModelConfig
from elboflow.vae.terms import Specs

if TYPE_CHECKING:
    import keras

Measures = Mapping[str, np.ndarray]
"""The measures of consecutive steps by name, float32 `[steps]` each."""


@dataclass(frozen=True)
class Profile:
    """The settings of a profile.

    Attributes:
        steps: The number of steps to profile. They begin after the first call, so that compilation is not profiled.
        folder: The folder for the profile.
    """

    steps: int
    folder: Path


@dataclass(frozen=True)
class Job:
    """A training. Every process gets the same job.

    Attributes:
        source: The training examples.
        validation: The validation examples, which decide the best epoch and early stopping.
        specs: The specs of the features that the model reads.
        model: The settings of the model.
        training: The settings of the training.
        seed: The seed of initial weights, order and noise.
        checkpoints: The folder of the checkpoints. If it contains one, the training resumes from it.
        fingerprint: All inputs of the training as JSON values. A checkpoint with another one is rejected.
        restart: Whether to start over instead of resuming. Old checkpoints are moved to another folder.
        profile: The settings of a profile; None for no profile.
    """

    source: Source
    validation: Source
    specs: Specs
    model: ModelConfig
    training: TrainingConfig
    seed: int
    checkpoints: Path
    fingerprint: dict[str, Any]
    restart: bool = False
    profile: Profile | None = None


class Steps(Protocol):
    """Runs several training steps in one call."""

    def to_device(self, examples: Examples, capacity: int) -> Any:
        """Copies examples to the devices. Pads to a fixed capacity, so that the step compiles once.

        Returns at once if the framework copies asynchronously.
        """

    def __call__(self, on_device: Any, rows: np.ndarray, first_step: int, count: int, factor: float) -> Measures:
        """Updates model and optimizers; returns the measures of each step.

        Args:
            on_device: The result of `to_device`.
            rows: The row indices of each step's examples, int32 `[capacity, batch]`; only the first `count` steps are
                used. With a fixed capacity, the call compiles once for any count. The batch is the part of this
                process.
            first_step: The number of the first step, from 0 at the start of training. Seed and step number determine
                all noise.
            count: The number of steps.
            factor: The factor of the schedule's learning rate.
        """


class Backend(Protocol):
    """The functions of a module `NAME/backend.py`: the backend-specific code after the import of Keras."""

    def compiled(self, model: Model, function: Callable[..., Any]) -> Callable[..., Any]:
        """Compiles a function of arrays that uses a model. Each call reads the current weights.

        Args:
            model: The model whose weights the function uses.
            function: Takes and returns trees of tensors (dictionaries, tuples) whose first axis is the batch.

        Returns:
            A function that takes and returns trees of NumPy arrays.
        """

    def training(self, step: TrainingStep, seed: int) -> Steps:
        """Returns an object that runs training steps on the chosen devices.

        Args:
            step: The computation of a step. This function builds its optimizers.
            seed: The seed of the noise, together with the step number.
        """

    def together(self, job: Job, cluster: Cluster | None, worker: str) -> AbstractContextManager[Cluster | None]:
        """Starts and connects the processes of a training, and yields their cluster; None for a single process.

        Args:
            job: The training, for worker processes that are started here, one for each further device of this machine.
            cluster: The machines of a distributed training, with one process each; None for a single machine.
            worker: The module that a worker process runs.

        Raises:
            WorkError: Another process did not connect, or is lost.
        """

    def scope(self) -> AbstractContextManager[None]:
        """The context in which model and optimizers are built and trained, so that variables are on their devices."""

    def all_reduce_max(self, numbers: np.ndarray) -> np.ndarray:
        """All-reduce (max) over all processes. All processes must call it at the same point.

        Args:
            numbers: The numbers of this process, float64, of any shape.

        Raises:
            WorkError: Another process is lost.
        """

    def values(self, variables: "Sequence[keras.Variable]") -> list[np.ndarray]:
        """Copies variables to the host. Sharded variables are assembled."""

    def on_processors(self) -> bool:
        """Returns whether this process computes on processors (CPUs), and not on accelerators."""

    def memory(self) -> int | None:
        """Returns the bytes in use on the first device of this process; None if the device does not report it."""

    def profiled(self, folder: Path) -> AbstractContextManager[None]:
        """Profiles the body of the `with` statement, and writes the profile into a folder."""
