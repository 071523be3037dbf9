"""A trained model → a file with new examples, or with reconstructions of a dataset's examples."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from components import outputs
from components.binding import raw_values
from components.binding.datasets import check_fits, open_for
from components.registry.predictor import Predictor
from elboflow import artifacts
from elboflow.settings import RequestError
from elboflow.vae.folder import ModelFolder

Columns = dict[str, np.ndarray]


def generate(
    model: Path | str, output: Path | str, count: int = 64, seed: int = 0, given: Mapping[str, Any] | None = None
) -> Columns:
    """Generates examples and writes them to a file.

    A `.png` is a grid of images. A `.txt` has a text on each line. A `.csv` has a column for each number and class. A
    `.npz` has the raw values of each feature, float32 `[count, …]`; for a feature with levels also the nearest levels,
    uint8, as `code`.

    Args:
        model: The model folder.
        output: The file.
        count: The number of examples. A larger count only appends examples.
        seed: The seed. The same seed gives the same examples.
        given: A value for each feature that the model is conditioned on.

    Returns:
        The examples, in the range of the data, `[count, …]` by feature.

    Raises:
        RequestError: The file format cannot store the model's features, or the folder cannot be written to.
        WorkError: The model folder is not finished or is damaged, or the model makes values that are not finite.
    """
    output = _checked_output(output, count)
    predictor = Predictor.open(model)
    _check_writable(output, predictor.trained)
    made = predictor.generate(count, seed, {name: [value] for name, value in (given or {}).items()})
    _write(output, predictor.trained, {"": made})
    return made


def reconstruct(
    model: Path | str, dataset: Path | str, output: Path | str, split: str = "test", count: int = 32, seed: int = 0
) -> Columns:
    """Reconstructs the first examples of a split through the mean of q(z|x), and writes them beside the originals.

    A `.png` shows pairs, each original left of its reconstruction. A `.txt` has pairs of lines. A `.csv` has additional
    columns `original_…`. A `.npz` is as in `generate`, with `original`.

    Args:
        model: The model folder.
        dataset: A dataset folder whose features have the same shapes and levels.
        output: The file.
        split: The split.
        count: The number of examples; all examples if the split has fewer.
        seed: The seed of the binarisation or dequantisation of each example.

    Returns:
        The reconstructions, in the range of the data, `[count, …]` by feature.

    Raises:
        RequestError: The file format cannot store the features, the folder cannot be written to, or there is no such
            split.
        WorkError: The model or the dataset is not finished or is damaged, or they do not fit each other.
    """
    output = _checked_output(output, count)
    predictor = Predictor.open(model)
    trained = predictor.trained
    _check_writable(output, trained)
    data = open_for(trained.config, dataset)
    check_fits(trained.specs, model, data)
    examples = data.head(split, count)
    made = predictor.reconstruct(examples, seed)
    features = {name: trained.specs[name] for name in trained.config.features}
    originals = {name: raw_values.raw_of(name, spec, examples) for name, spec in features.items()}
    _write(output, trained, {"original": originals, "": made})
    return made


def _checked_output(output: Path | str, count: int) -> Path:
    output = Path(output)
    outputs.writer(output)
    if count < 1:
        raise RequestError(f"the number of examples is {count}; at least 1 is expected")
    if not output.absolute().parent.is_dir():
        raise RequestError(f"cannot write {output}: there is no folder {output.absolute().parent}")
    return output


def _check_writable(output: Path, trained: ModelFolder) -> None:
    """Raises a RequestError if the file format cannot store the features of a model."""
    outputs.check(output, {name: trained.specs[name] for name in trained.config.features})


def _write(output: Path, trained: ModelFolder, sets: Mapping[str, Columns]) -> None:
    """Writes sets of examples with corresponding rows; the key of a set is the prefix of its column names."""
    specs = {name: trained.specs[name] for name in trained.config.features}
    try:
        artifacts.write_atomically(output, outputs.writer(output).content(specs, sets))
    except OSError as error:
        raise RequestError(f"cannot write {output}: {error.strerror}") from None
