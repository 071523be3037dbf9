"""A trained model → images: new ones, or reconstructions of a dataset's."""

import io
from pathlib import Path
from typing import Any

import numpy as np

from components.binding import intensities
from components.binding.datasets import check_fits, open_images
from elboflow import artifacts
from elboflow.settings import RequestError, WorkError
from elboflow.vae import folder
from elboflow.vae.folder import ModelFolder

SUFFIXES = (".png", ".npz")
_PAIRS_IN_A_ROW = 4


def generate(model: Path | str, output: Path | str, count: int = 64, seed: int = 0) -> np.ndarray:
    """Makes new images and writes them to a file.

    A `.png` is a grid. A `.npz` holds `image`, the expected values in the data's own range, float32
    `[count, height, width, channels]`, and `code`, the nearest codes, uint8.

    Args:
        model: The model folder.
        output: The file, a `.png` or a `.npz`.
        count: Number of images; the first of more images are the same images.
        seed: Fixes the images.

    Returns:
        Expected intensities in [0, 1], float32 `[count, height, width, channels]`.

    Raises:
        RequestError: The file is of another kind, or its folder cannot be written to.
        WorkError: The model folder is not finished or is damaged.
    """
    output = _checked(output, count)
    trained = folder.load(Path(model))
    _check_drawable(output, trained)
    network = trained.model
    from elboflow.vae.evaluation import samples

    images = samples.generate(network, count, seed)
    _write(output, trained, {"image": images}, columns=None)
    return images


def reconstruct(
    model: Path | str, dataset: Path | str, output: Path | str, split: str = "test", count: int = 32, seed: int = 0
) -> np.ndarray:
    """Reconstructs the first examples of a split through the mean of q(z|x), and writes them beside the originals.

    A `.png` shows pairs, each original left of its reconstruction. A `.npz` holds `image`, the reconstructions in the
    data's own range, float32 `[count, height, width, channels]`, `code`, the nearest codes, uint8, and `original` and
    `original_code`, the same of the examples.

    Args:
        model: The model folder.
        dataset: A dataset folder of images of the same shape and levels.
        output: The file, a `.png` or a `.npz`.
        split: The split.
        count: Number of examples, at most all.
        seed: Fixes the bits or the dequantisation of each example.

    Returns:
        Expected intensities in [0, 1], float32 `[count, height, width, channels]`.

    Raises:
        RequestError: The file is of another kind, its folder cannot be written to, or there is no such split.
        WorkError: The model or the dataset is not finished or is damaged, or they do not fit each other.
    """
    output = _checked(output, count)
    trained = folder.load(Path(model))
    _check_drawable(output, trained)
    images = open_images(dataset, trained.config.input)
    check_fits(trained.spec, model, images)
    examples = images.examples(split).head(count)
    network = trained.model
    from elboflow.vae.evaluation import samples

    made = samples.reconstruct(network, examples, seed)
    originals = examples.images / np.float32(trained.spec.levels - 1)
    _write(output, trained, {"original": originals, "image": made}, columns=2 * _PAIRS_IN_A_ROW)
    return made


def _checked(output: Path | str, count: int) -> Path:
    output = Path(output)
    if output.suffix not in SUFFIXES:
        raise RequestError(f"images are written as {' or '.join(SUFFIXES)}; {str(output)!r} is neither")
    if count < 1:
        raise RequestError(f"the number of images is {count}; at least 1 is expected")
    if not output.absolute().parent.is_dir():
        raise RequestError(f"cannot write {output}: there is no folder {output.absolute().parent}")
    return output


def _check_drawable(output: Path, trained: ModelFolder) -> None:
    channels = trained.spec.shape[2]
    if output.suffix == ".png" and channels not in (1, 3):
        raise RequestError(f"a .png shows 1 or 3 channels, and the model's images have {channels}; write a .npz")


def _write(output: Path, trained: ModelFolder, images: dict[str, np.ndarray], columns: int | None) -> None:
    """Writes sets of images, intensities `[images, height, width, channels]`, that belong together row by row."""
    if not all(np.isfinite(values).all() for values in images.values()):
        raise WorkError(f"the model {trained.path} makes images that are not finite; {output} is not written")
    if output.suffix == ".png":
        from elboflow.vae.evaluation.images import png

        side_by_side = np.stack(list(images.values()), axis=1).reshape(-1, *trained.spec.shape)
        content = png(side_by_side, columns)
    else:
        arrays: dict[str, Any] = {}
        for name, values in images.items():
            arrays[name] = intensities.raw(values, trained.provenance.range)
            arrays["code" if name == "image" else f"{name}_code"] = intensities.quantised(values, trained.spec)
        file = io.BytesIO()
        np.savez_compressed(file, **arrays)
        content = file.getvalue()
    try:
        artifacts.write_atomically(output, content)
    except OSError as error:
        raise RequestError(f"cannot write {output}: {error.strerror}") from None
