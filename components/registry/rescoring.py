"""A metric of a model's test examples, read from an evaluation or computed in a child process.

A champion that was evaluated on another dataset, seed or with other settings is rescored under the newcomer's. It may
need another framework than this process has imported: hence a child process, for one model.
"""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from components.binding.datasets import check_fits, open_for
from elboflow.artifacts import child
from elboflow.artifacts.arrays import array_names, read_arrays
from elboflow.artifacts.temporary import temporary_folder
from elboflow.settings import RequestError, WorkError
from elboflow.vae import compute, folder
from elboflow.vae.evaluation.config import EvaluationConfig
from elboflow.vae.evaluation.folder import EvaluationFolder

_KEY = "key"
_MOST_BYTES = 2**30  # of the values of 67 million examples


@dataclass(frozen=True)
class Values:
    """A metric of a model, example by example.

    Attributes:
        metric: Its name.
        keys: The examples' identities, int64 `[examples]`.
        of_example: The metric of each, `[examples]`.
    """

    metric: str
    keys: np.ndarray
    of_example: np.ndarray


def columns(path: Path) -> list[str]:
    """Returns the names of the columns of the `examples.npz` of an evaluation.

    Raises:
        WorkError: It is missing or damaged.
    """
    try:
        return array_names(path)
    except (OSError, WorkError) as error:
        raise WorkError(f"the values of the test examples cannot be read from {path}: {error}") from None


def read(path: Path, metric: str) -> Values:
    """Reads a metric from the `examples.npz` of an evaluation.

    Raises:
        WorkError: It is missing or damaged.
    """
    try:
        found = read_arrays(path, _MOST_BYTES, (_KEY, metric))
    except (OSError, WorkError) as error:
        raise WorkError(f"the values of the test examples cannot be read from {path}: {error}") from None
    keys, values = found[_KEY], found[metric]
    if keys.dtype != np.int64 or values.dtype.kind != "f" or keys.ndim != 1 or keys.shape != values.shape:
        described = f"keys {keys.dtype} {list(keys.shape)} and values {values.dtype} {list(values.shape)}"
        raise WorkError(f"the values of the test examples cannot be read from {path}: it holds {described}")
    if not np.isfinite(values).all():
        raise WorkError(f"the values of the test examples in {path} are not finite")
    return Values(metric, keys, values)


def conditions(evaluated: EvaluationFolder) -> tuple[int, dict[str, Any]]:
    """Returns what determines the value of an example besides the model: the seed and the evaluation's settings."""
    unrelated = {"batch_size", "bootstrap_samples"}
    return evaluated.facts.seed, evaluated.facts.evaluation.model_dump(mode="json", exclude=unrelated)


def rescore(dataset: Path | str, model: Path, evaluation: EvaluationConfig, seed: int, metric: str) -> Values:
    """Computes a metric of a model on the test split, on the backend that it was trained on, in a child process.

    Args:
        dataset: The dataset folder.
        model: The model folder.
        evaluation: The settings of the evaluation.
        seed: Fixes bits and samples.
        metric: Its name.

    Raises:
        WorkError: The model cannot be used, does not fit the dataset, or no evaluator gives the metric of each example.
    """
    with temporary_folder() as temporary:
        output = temporary / "examples.npz"
        words = [str(dataset), str(model), str(output), evaluation.model_dump_json(), str(seed), metric]
        command = child.command("components.registry.rescoring", *words)
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", env=child.environment()
        )
        if done.returncode:
            why = child.reason(done.stderr, done.returncode)
            raise WorkError(f"the model {model} could not be evaluated: {why}")
        return read(output, metric)


def main(dataset: str, model: str, output: str, evaluation: str, seed: str, metric: str) -> None:
    """The child process: computes the metric of each example and writes it."""
    trained = folder.load(Path(model))
    data = open_for(trained.config, dataset)
    check_fits(trained.specs, model, data)
    compute.use(trained.provenance.training.backend)
    config = EvaluationConfig.model_validate_json(evaluation)
    from elboflow.vae.evaluation.evaluate import of_example

    keys, values = of_example(metric, trained, data.source("test"), data.described(), config, int(seed))
    arrays: dict[str, Any] = {_KEY: keys, metric: values}
    np.savez(output, **arrays)


if __name__ == "__main__":
    child.end_with_parent()
    try:
        main(*sys.argv[1:])
    except (RequestError, WorkError) as failure:
        sys.exit(str(failure))
