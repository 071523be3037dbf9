"""The three folders of a finished run: dataset, model and evaluation, which belong together."""

from dataclasses import dataclass
from pathlib import Path

from components.binding.datasets import ImageDataset, check_fits, open_images
from elboflow.settings import RequestError
from elboflow.vae import folder
from elboflow.vae.evaluation import folder as evaluations
from elboflow.vae.evaluation.folder import EvaluationFolder
from elboflow.vae.folder import ModelFolder


@dataclass(frozen=True)
class Finished:
    """What the steps before registration made.

    Attributes:
        images: The dataset.
        trained: The model folder.
        evaluated: The evaluation folder.
    """

    images: ImageDataset
    trained: ModelFolder
    evaluated: EvaluationFolder


def open_finished(dataset: Path | str, model: Path, evaluation: Path) -> Finished:
    """Opens the folders of a finished run.

    Raises:
        RequestError: The model was trained, or evaluated, on another dataset; or the evaluation is of another model.
        WorkError: A folder is not finished or is damaged, or the model does not fit the dataset.
    """
    trained = folder.load(model)
    images = open_images(dataset, trained.config.input)
    check_fits(trained.spec, model, images)
    evaluated = evaluations.load(evaluation)
    if trained.provenance.dataset != images.manifest.digest:
        raise RequestError(
            f"the model {model} was trained on another dataset than {dataset}; a version has one dataset"
        )
    if evaluated.facts.data.dataset != images.manifest.digest:
        raise RequestError(f"{evaluation} is not an evaluation on the dataset {dataset}, but on another one")
    if evaluated.facts.weights != trained.weights:
        raise RequestError(f"{evaluation} is not an evaluation of the model {model}, but of another one")
    return Finished(images, trained, evaluated)
