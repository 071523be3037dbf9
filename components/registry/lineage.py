"""The lineage of a registered version: what MLflow holds of the data, settings, weights and measures that made it."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.binding.recorded import kinds
from components.registry import versions
from components.surroundings import environment
from components.surroundings.code_version import code_version
from components.surroundings.masking import MASK
from components.tracking import tags
from components.tracking.parameters import config_digest, flat, is_older
from elboflow import artifacts
from elboflow.settings import RequestError, WorkError
from elboflow.settings.locations import scheme
from elboflow.vae import folder
from elboflow.vae.evaluation import folder as evaluations
from elboflow.vae.evaluation.folder import EvaluationFolder
from preprocessing import manifest as manifests
from preprocessing.manifest import Manifest

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion


@dataclass(frozen=True)
class Lineage:
    """What a version was made of, and with.

    Attributes:
        name: The version, as `models:/NAME/VERSION`.
        experiment: The recorded experiment, as `Experiment.recorded()` returns it.
        date: The date of the data; None where it is not known.
        dataset: The manifest of the dataset.
        original: Where the dataset was when the version was registered.
        weights: SHA-256 of the weights that were registered.
        network: The `.keras` file that MLflow has now.
        facts: What the model folder says of itself.
        evaluated: The evaluation.
        contradictions: Settings of the recorded experiment that are not those of the run, a phrase each.
    """

    name: str
    experiment: dict[str, Any]
    date: str | None
    dataset: Manifest
    original: str | None
    weights: str
    network: Path
    facts: folder.Facts
    evaluated: EvaluationFolder
    contradictions: tuple[str, ...]

    def differences_here(self) -> list[str]:
        """Returns in what code, packages and hardware of this process differ from those of the training."""
        made = self.facts.provenance
        here = environment.of_training(made.training.device)
        installed = kinds(self.experiment)
        there = {"code": made.code, **made.environment, **{each: self._kinds.get(each, "none") for each in installed}}
        if not made.environment:  # an older version recorded the code alone
            here = {}
        return environment.differences(there, {"code": code_version(), **here, **installed})

    @property
    def _kinds(self) -> dict[str, str]:
        return {**self.dataset.kinds, **self.facts.provenance.kinds}


def read(client: "MlflowClient", version: "ModelVersion", place: Path) -> Lineage:
    """Reads the lineage of a version.

    Args:
        client: MLflow.
        version: The version.
        place: An existing folder for downloads.

    Raises:
        RequestError: The lineage is incomplete or damaged, or a secret is masked in it.
    """
    name = f"models:/{version.name}/{version.version}"
    try:
        run = _run(client, version)
        experiment = _experiment(client, run, place)
        dataset = manifests.FORMAT.read(
            versions.lineage_file(client, run.info.run_id, manifests.NAME, place).read_bytes(), manifests.NAME
        )
        (place / "model").mkdir()
        model = versions.model_folder(name, place / "model")
        facts = artifacts.read(model, folder.FORMAT)
        (place / "evaluation").mkdir()
        evaluated = evaluations.load(versions.evaluation_folder(client, run.info.run_id, place / "evaluation"))
    except (RequestError, WorkError, OSError) as error:
        raise RequestError(f"the lineage of {name} is incomplete: {str(error).replace(str(place), '…')}") from None
    return Lineage(
        name,
        experiment,
        run.data.tags.get(tags.DATE),
        dataset,
        _original(run),
        version.tags.get(tags.WEIGHTS, facts.files[folder.MODEL].sha256),
        model / folder.MODEL,
        facts,
        evaluated,
        tuple(_contradictions(experiment, run, version)),
    )


def _run(client: "MlflowClient", version: "ModelVersion") -> "Run":
    from mlflow import MlflowException

    try:
        return client.get_run(str(version.run_id))
    except MlflowException as error:
        raise WorkError(f"its MLflow run is gone: {error.message}") from None


def _experiment(client: "MlflowClient", run: "Run", place: Path) -> dict[str, Any]:
    text = versions.lineage_file(client, run.info.run_id, "experiment.json", place).read_text(encoding="utf-8")
    try:
        experiment = json.loads(text)
    except ValueError:
        raise WorkError("experiment.json is damaged: it is no JSON") from None
    if not isinstance(experiment, dict):
        raise WorkError("experiment.json is damaged: it is no experiment")
    if MASK in text:
        raise RequestError("its recorded experiment held a secret, which is not kept")
    return experiment


def _original(run: "Run") -> str | None:
    """Returns the folder of the dataset that the run names as its input, if it is of this machine."""
    for given in run.inputs.dataset_inputs if run.inputs else ():
        uri = json.loads(given.dataset.source).get("uri")
        if isinstance(uri, str) and scheme(uri) is None:
            return uri
    return None


def _contradictions(experiment: Mapping[str, Any], run: "Run", version: "ModelVersion") -> Iterator[str]:
    """Yields where the recorded experiment is not what the run's parameters and the version's digest say."""
    said, params = flat(dict(experiment)), run.data.params
    named = [key for key in said if key in params and params[key] != said[key]]
    yield from (f"{key} is {said[key]} in experiment.json, and was {params[key]} in the run" for key in named)
    digest = version.tags.get(tags.CONFIG)
    if not named and digest is not None and not is_older(digest) and digest != config_digest(dict(experiment)):
        yield "experiment.json has another digest than the version's settings"
