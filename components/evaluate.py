"""dataset/ + model/ → evaluation/."""

import logging
from pathlib import Path

from components.datasets import check_fits, open_images
from vae import folder
from vae.config import EvaluationConfig

logger = logging.getLogger("elboflow.evaluation")


def evaluate(
    dataset: Path | str, model: Path | str, output: Path | str, evaluation: EvaluationConfig, seed: int
) -> None:
    """Judges a model on the test split and writes the evaluation folder.

    Args:
        dataset: A dataset folder with the split `test`.
        model: A model folder, trained on images of the same shape and levels; on other data it is judged with a warning.
        output: The evaluation folder; what it held before is replaced.
        evaluation: Samples of the bound, resamples of the intervals.
        seed: Fixes the samples, and the bits of each example: models judged with the same seed are comparable.

    Raises:
        WorkError: The dataset or the model is not finished or damaged, or they do not fit each other.
    """
    trained = folder.load(Path(model))
    images = open_images(dataset, trained.config.input)
    check_fits(trained.spec, model, images)
    if trained.provenance.dataset != images.manifest.digest:
        logger.warning(
            "the model %s was trained on the dataset %.12s…, and is judged on another one, %.12s…: some of its test "
            "examples may have been trained on",
            model,
            trained.provenance.dataset,
            images.manifest.digest,
        )
    raise NotImplementedError
