"""A trained model → files: new examples, or reconstructions of a dataset's."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from components import outputs
from components.binding import raw_values
from components.binding.datasets import check_fits, open_for
from components.registry.predictor import Predictor
from elboflow import artifacts
from elboflow.settings import RequestError, WorkError
from elboflow.vae.folder import ModelFolder

Columns = dict[str, np.ndarray]


def generate(
    model: Path | str, output: Path | str, count: int = 64, seed: int = 0, given: Mapping[str, Any] | None = None
) -> Columns:
    """Makes new examples and writes them to a file.

    A `.png` is a grid of images; a `.txt` has a text on each line; a `.csv` has a column for each number and class. A
    `.npz` has the raw values of each feature, float32 `[count, …]`; of one that is stored as levels, also the nearest
    levels, uint8, as `code`.

    Args:
        model: The model folder.
        output: The file.
        count: Number of examples; the first of more examples are the same ones.
        seed: Fixes them.
        given: One value for each feature that the model is conditioned on.

    Returns:
        What was made, in the data's own range, `[count, …]` by feature.

    Raises:
        RequestError: The file is of another kind than the model's features, or its folder cannot be written to.
        WorkError: The model folder is not finished or is damaged.
    """
    output = _checked(output, count)
    predictor = Predictor.open(model)
    _check_writable(output, predictor.trained)
    made = predictor.generate(count, seed, given)
    _write(output, predictor.trained, {"": made})
    return made


def reconstruct(
    model: Path | str, dataset: Path | str, output: Path | str, split: str = "test", count: int = 32, seed: int = 0
) -> Columns:
    """Reconstructs the first examples of a split through the mean of q(z|x), and writes them beside the originals.

    A `.png` shows pairs, each original left of its reconstruction; a `.txt` has pairs of lines; a `.csv` has columns
    `original_…` beside the others. A `.npz` is as in `generate`, with `original`.

    Args:
        model: The model folder.
        dataset: A dataset folder of features of the same shapes and levels.
        output: The file.
        split: The split.
        count: Number of examples, at most all.
        seed: Fixes the bits or the dequantisation of each example.

    Returns:
        The reconstructions, in the data's own range, `[count, …]` by feature.

    Raises:
        RequestError: The file is of another kind, its folder cannot be written to, or there is no such split.
        WorkError: The model or the dataset is not finished or is damaged, or they do not fit each other.
    """
    output = _checked(output, count)
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


def _checked(output: Path | str, count: int) -> Path:
    output = Path(output)
    outputs.writer(output)
    if count < 1:
        raise RequestError(f"the number of examples is {count}; at least 1 is expected")
    if not output.absolute().parent.is_dir():
        raise RequestError(f"cannot write {output}: there is no folder {output.absolute().parent}")
    return output


def _check_writable(output: Path, trained: ModelFolder) -> None:
    """Raises RequestError where the features of a model cannot be written in this form."""
    outputs.check(output, {name: trained.specs[name] for name in trained.config.features})


def _write(output: Path, trained: ModelFolder, sets: Mapping[str, Columns]) -> None:
    """Writes sets of examples that belong together row by row, by the beginning of their columns' names."""
    for columns in sets.values():
        for values in columns.values():
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                raise WorkError(f"the model {trained.path} makes values that are not finite; {output} is not written")
    specs = {name: trained.specs[name] for name in trained.config.features}
    try:
        artifacts.write_atomically(output, outputs.writer(output).content(specs, sets))
    except OSError as error:
        raise RequestError(f"cannot write {output}: {error.strerror}") from None
