"""Checkpoints: everything that a training needs to go on as if it had never stopped, as of the end of an epoch.

Noise and order are functions of (seed, step) and (seed, epoch), so that weights, the optimizer's variables, the count
of epochs and what early stopping remembers are all there is to save. One NumPy archive holds them, without pickle.
"""

import io
import json
import logging
import time
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import keras
import numpy as np

from artifacts import write_atomically
from settings import WorkError
from vae.training.curves import Curves

logger = logging.getLogger("elboflow.training")

SECONDS_BETWEEN_WRITES = 10.0
_ARRAYS = ("weights", "optimizer", "best_weights")


@dataclass
class State:
    """A training at the end of an epoch.

    Attributes:
        weights: The model's variables.
        optimizer: The optimizer's variables.
        epoch: Epochs done.
        best_epoch: The epoch whose validation ELBO is the best so far; 0 before the first.
        best_elbo: That ELBO, in nats per example.
        best_weights: The model's variables then.
        curves: The curves so far.
    """

    weights: list[np.ndarray]
    optimizer: list[np.ndarray]
    epoch: int = 0
    best_epoch: int = 0
    best_elbo: float = -float("inf")
    best_weights: list[np.ndarray] = field(default_factory=list)
    curves: Curves = field(default_factory=Curves)

    def advance(
        self, weights: list[np.ndarray], optimizer: list[np.ndarray], elbo: float, minimum_change: float
    ) -> None:
        """Moves on by an epoch that ended with these variables and this validation ELBO."""
        self.epoch, self.weights, self.optimizer = self.epoch + 1, weights, optimizer
        if elbo > self.best_elbo + minimum_change:
            self.best_epoch, self.best_elbo, self.best_weights = self.epoch, elbo, weights


def values(variables: Sequence[keras.Variable]) -> list[np.ndarray]:
    """Copies variables to the host."""
    return [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]


def assign(variables: Sequence[keras.Variable], arrays: Sequence[np.ndarray]) -> None:
    """Sets variables to the values that `values` returned."""
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)


class Keeper:
    """Keeps the last good state: on disk every few seconds, and whenever the training ends early, whatever ends it.

    Args:
        path: The checkpoint's file.
        identity: What the training is a function of (settings, data, seed), as JSON values.
    """

    def __init__(self, path: Path, identity: dict[str, Any]) -> None:
        self._path, self._identity = path, identity
        self._unwritten: dict[str, np.ndarray] = {}

    def __enter__(self) -> Self:
        self._written_at = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._write()

    def keep(self, state: State) -> None:
        """Takes the state of an epoch's end; its arrays must not change later."""
        facts = {
            "identity": self._identity,
            "epoch": state.epoch,
            "best_epoch": state.best_epoch,
            "best_elbo": state.best_elbo,
            "curves": state.curves.as_json(),
        }
        arrays = {f"{name}/{i:04d}": array for name in _ARRAYS for i, array in enumerate(getattr(state, name))}
        self._unwritten = {"facts": np.frombuffer(json.dumps(facts).encode(), np.uint8), **arrays}
        if time.monotonic() - self._written_at >= SECONDS_BETWEEN_WRITES:
            self._write()

    def kept(self) -> str:
        """Says what a training that stops now leaves behind."""
        return (
            f"the last good epoch is kept in {self._path}"
            if self._unwritten or self._path.exists()
            else "no epoch was finished before"
        )

    def _write(self) -> None:
        if not self._unwritten:
            return
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **self._unwritten)
        try:
            write_atomically(self._path, buffer.getvalue())
        except OSError as error:
            logger.warning("could not write the checkpoint %s (%s); training goes on without it", self._path, error)
        self._unwritten = {}
        self._written_at = time.monotonic()


def load(path: Path, identity: dict[str, Any]) -> State | None:
    """Reads a checkpoint; returns None where there is none, or where it is another training's.

    Raises:
        WorkError: The file is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            facts = json.loads(archive["facts"].tobytes())
            arrays = {
                name: [archive[key] for key in sorted(archive.files) if key.startswith(f"{name}/")] for name in _ARRAYS
            }
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise WorkError(f"the checkpoint {path} is damaged ({error}); delete it to start over") from None
    if facts["identity"] != identity:
        logger.info("starting anew: %s is the checkpoint of other settings or data", path)
        return None
    curves = Curves(**facts["curves"])
    return State(
        **arrays, epoch=facts["epoch"], best_epoch=facts["best_epoch"], best_elbo=facts["best_elbo"], curves=curves
    )
