"""The bounds of a model on the test split of a dataset, computed in a child process.

A champion that was evaluated on another dataset, seed or number of samples is rescored under the newcomer's. It may
need another framework than this process has imported: hence a child process, for one model.
"""

import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from components.binding.datasets import check_fits, open_for
from elboflow.artifacts.arrays import read_arrays
from elboflow.artifacts.temporary import temporary_folder
from elboflow.settings import RequestError, WorkError
from elboflow.vae import compute, folder

_MOST_BYTES = 2**30  # of the values of 67 million examples


@dataclass(frozen=True)
class Bounds:
    """A model's bounds on log p(x) of each example.

    Attributes:
        keys: The examples' identities, int64 `[examples]`.
        log_likelihood: The importance-weighted bounds, `[examples]`, in nats.
    """

    keys: np.ndarray
    log_likelihood: np.ndarray


def read(path: Path) -> Bounds:
    """Reads the `examples.npz` of an evaluation.

    Raises:
        WorkError: It is missing or damaged.
    """
    try:
        columns = read_arrays(path, _MOST_BYTES, ("key", "log_likelihood"))
    except (OSError, WorkError) as error:
        raise WorkError(f"the values of the test examples cannot be read from {path}: {error}") from None
    keys, values = columns["key"], columns["log_likelihood"]
    if keys.dtype != np.int64 or values.dtype.kind != "f" or keys.ndim != 1 or keys.shape != values.shape:
        found = f"keys {keys.dtype} {list(keys.shape)} and values {values.dtype} {list(values.shape)}"
        raise WorkError(f"the values of the test examples cannot be read from {path}: it holds {found}")
    if not np.isfinite(values).all():
        raise WorkError(f"the values of the test examples in {path} are not finite")
    return Bounds(keys, values)


def rescore(dataset: Path | str, model: Path, samples: int, seed: int, batch_size: int) -> Bounds:
    """Computes a model's bounds on the test split, on the backend that it was trained on, in a child process.

    Args:
        dataset: The dataset folder.
        model: The model folder.
        samples: Importance samples for each example.
        seed: Fixes bits and samples.
        batch_size: Examples per compiled call.

    Raises:
        WorkError: The model cannot be used, or does not fit the dataset.
    """
    with temporary_folder() as temporary:
        output = temporary / "examples.npz"
        numbers = [str(number) for number in (samples, seed, batch_size)]
        command = [
            sys.executable,
            "-m",
            "components.registry.rescoring",
            str(dataset),
            str(model),
            str(output),
            *numbers,
        ]
        # The child's standard input ends when this process does, however it ends; and so then does the child.
        reading, writing = os.pipe()
        try:
            done = subprocess.run(command, stdin=reading, capture_output=True, encoding="utf-8")
        finally:
            os.close(reading)
            os.close(writing)
        if done.returncode:
            lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            raise WorkError(f"the model {model} could not be evaluated: {lines[-1]}")
        return read(output)


def main(dataset: str, model: str, output: str, samples: str, seed: str, batch_size: str) -> None:
    """The child process: computes the bounds and writes them."""
    trained = folder.load(Path(model))
    data = open_for(trained.config, dataset)
    check_fits(trained.specs, model, data)
    compute.use(trained.provenance.training.backend)
    from elboflow.vae.evaluation.bounds import bounds

    values = bounds(trained.model, data.source("test"), int(samples), int(seed), int(batch_size))
    np.savez(output, key=values.keys, log_likelihood=values.log_likelihood)


def _end_with_standard_input() -> None:
    while os.read(0, 1):
        pass
    os._exit(128 + signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=_end_with_standard_input, daemon=True).start()
    try:
        main(*sys.argv[1:])
    except (RequestError, WorkError) as failure:
        sys.exit(str(failure))
