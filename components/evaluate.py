"""dataset/ + model/ → evaluation/."""

import logging
from pathlib import Path

from components.binding.datasets import check_fits, open_for
from elboflow.settings.text import counted
from elboflow.vae import compute, folder
from elboflow.vae.evaluation import folder as evaluations
from elboflow.vae.evaluation.config import EvaluationConfig
from elboflow.vae.evaluation.folder import EvaluationFolder
from elboflow.vae.evaluation.paired import FEWEST_EXAMPLES
from preprocessing.manifest import Manifest
from preprocessing.remarks import remarks

logger = logging.getLogger("elboflow.evaluation")


def evaluate(
    dataset: Path | str, model: Path | str, output: Path | str, evaluation: EvaluationConfig, seed: int
) -> EvaluationFolder:
    """Evaluates a model on the test split and writes the evaluation folder.

    Args:
        dataset: A dataset folder with the split `test`.
        model: A model folder of features of the same shapes and levels; one of other data gets a warning.
        output: The evaluation folder; what it held before is replaced.
        evaluation: Samples of the bound, resamples of the intervals.
        seed: Fixes the samples, and the bits of each example: models evaluated with the same seed are comparable.

    Returns:
        The evaluation folder, with its metrics.

    Raises:
        WorkError: The dataset or the model is not finished or damaged, or they do not fit each other.
    """
    trained = folder.load(Path(model))
    data = open_for(trained.config, dataset)
    check_fits(trained.specs, model, data)
    manifest = data.manifest
    digest = manifest.digest
    if trained.provenance.dataset != digest:
        logger.warning(
            "the model %s was trained on the dataset %.12s…, and is evaluated on %.12s…: its test split may hold "
            "examples that the model was trained on",
            model,
            trained.provenance.dataset,
            digest,
        )
    compute.use(trained.provenance.training.backend)
    from elboflow.vae.evaluation import evaluate as evaluating

    count = counted(manifest.counts["test"], "example")
    logger.info("evaluating on %s with %s each", count, counted(evaluation.bound_samples, "sample"))
    test = data.described([*remarks(manifest), *_too_few(manifest)])
    evaluating.evaluate(trained, data.source("test"), test, evaluation, seed, Path(output), data.source("train"))
    return evaluations.load(Path(output))


def _too_few(manifest: Manifest) -> list[str]:
    """Returns a warning, which it logs, where no newcomer can be promoted on these examples."""
    distinct = (manifest.distinct or manifest.counts)["test"]
    if distinct >= FEWEST_EXAMPLES:
        return []
    sentence = (
        f"the test split holds {counted(distinct, 'distinct example')}; on fewer than {FEWEST_EXAMPLES} no model is "
        "told to be better than another, so that no newcomer replaces a champion"
    )
    logger.warning("%s", sentence)
    return [sentence]
