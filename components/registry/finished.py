"""The three folders of a finished run: dataset, model and evaluation, which belong together."""

from dataclasses import dataclass
from pathlib import Path

from components.binding.datasets import ModelDataset, check_fits, open_for
from elboflow.settings import RequestError
from elboflow.vae import folder
from elboflow.vae.evaluation import folder as evaluations
from elboflow.vae.evaluation.folder import EvaluationFolder
from elboflow.vae.folder import ModelFolder


@dataclass(frozen=True)
class Finished:
    """What the steps before registration made.

    Attributes:
        data: The dataset.
        trained: The model folder.
        evaluated: The evaluation folder.
    """

    data: ModelDataset
    trained: ModelFolder
    evaluated: EvaluationFolder


def open_finished(dataset: Path | str, model: Path, evaluation: Path) -> Finished:
    """Opens the folders of a finished run.

    Raises:
        RequestError: The model was trained, or evaluated, on another dataset; or the evaluation is of another model.
        WorkError: A folder is not finished or is damaged, or the model does not fit the dataset.
    """
    trained = folder.load(model)
    data = open_for(trained.config, dataset)
    check_fits(trained.specs, model, data)
    evaluated = evaluations.load(evaluation)
    if trained.provenance.dataset != data.manifest.digest:
        raise RequestError(
            f"the model {model} was trained on another dataset than {dataset}; a version has one dataset"
        )
    if evaluated.facts.data.dataset != data.manifest.digest:
        raise RequestError(f"{evaluation} is not an evaluation on the dataset {dataset}, but on another one")
    if evaluated.facts.weights != trained.weights:
        raise RequestError(f"{evaluation} is not an evaluation of the model {model}, but of another one")
    return Finished(data, trained, evaluated)
