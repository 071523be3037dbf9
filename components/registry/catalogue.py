"""What there is to say of registered models and their versions: lists, lineage, and two versions side by side."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from components.registry import rescoring, versions
from components.registry.champion import CHAMPION, PROMOTED, REASON
from components.registry.decisions.history import open_history
from components.registry.decisions.history_run import EXPERIMENT, FILE
from components.registry.rescoring import Values
from components.registry.resolve import versions_of
from components.surroundings import environment
from components.surroundings.code_version import code_version
from components.tracking import tags
from components.tracking.pages import run_page
from elboflow.artifacts.temporary import temporary_folder
from elboflow.settings import WorkError
from elboflow.vae.evaluation import folder as evaluations
from elboflow.vae.evaluation import paired
from elboflow.vae.evaluation.folder import EXAMPLES, REPORT, EvaluationFolder
from elboflow.vae.evaluation.metrics import Metric
from elboflow.vae.evaluation.paired import Comparison

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel


@dataclass(frozen=True)
class Listed:
    """A registered version, in short.

    Attributes:
        model: Name of the registered model.
        version: Number of the version.
        aliases: Its aliases.
        promoted: Whether it became the champion when it was registered; None if that is not known.
        reason: Why, or why not.
        run: Name of the pipeline run.
        dataset: Digest of the dataset.
    """

    model: str
    version: int
    aliases: tuple[str, ...]
    promoted: bool | None
    reason: str | None
    run: str | None
    dataset: str | None


@dataclass(frozen=True)
class Shown:
    """A registered version with its lineage: all that it was made of, and by.

    Attributes:
        listed: The version in short.
        code: Version of the code that trained it.
        config: Digest of the settings.
        weights: SHA-256 of the weights.
        mlflow_run: Id of the MLflow run.
        page: Address of the run's page; None without a server.
        report: The report: its page on a server, or its file.
        environment: Versions of Python and packages, and the hardware, of the training, by name; empty for older
            versions.
        differs_here: What differs from them, and from the code, on this machine, a phrase each.
        same_dataset: Other versions that were made of the same dataset.
        metrics: Metrics of the test split, by name.
    """

    listed: Listed
    code: str | None
    config: str | None
    weights: str | None
    mlflow_run: str | None
    page: str | None
    report: str | None
    environment: dict[str, str] = field(default_factory=dict)
    differs_here: tuple[str, ...] = ()
    same_dataset: tuple[int, ...] = ()
    metrics: dict[str, Metric] = field(default_factory=dict)


@dataclass(frozen=True)
class Compared:
    """Two versions side by side.

    Attributes:
        one: The first version.
        other: The second version.
        settings: Parameters that differ: name → the two values.
        by_metric: The paired comparison of each metric that both have for each of the same examples; above zero the
            first is larger.
        incomparable: Why there is no paired comparison; None if there is one.
    """

    one: Shown
    other: Shown
    settings: dict[str, tuple[str | None, str | None]]
    by_metric: dict[str, Comparison]
    incomparable: str | None


def all_versions(client: "MlflowClient", dataset: str | None = None) -> list[Listed]:
    """Returns the versions of all registered models, the newest of each first.

    Args:
        client: MLflow.
        dataset: The first digits of a dataset's digest: only versions that were made of it.
    """
    found = []
    for model in _models(client):
        found += [_listed(version, model) for version in versions_of(client, model.name)]
    return [version for version in found if dataset is None or (version.dataset or "").startswith(dataset)]


def show(client: "MlflowClient", tracking_uri: str, version: "ModelVersion") -> Shown:
    """Returns a version with its lineage.

    Raises:
        WorkError: MLflow does not have its evaluation any more, or it is damaged.
    """
    with temporary_folder() as temporary:
        return _shown(client, tracking_uri, version, _evaluation(client, version, temporary))


def compare(client: "MlflowClient", tracking_uri: str, one: "ModelVersion", other: "ModelVersion") -> Compared:
    """Returns two versions side by side.

    Raises:
        WorkError: MLflow does not have an evaluation any more, or it is damaged.
    """
    with temporary_folder() as temporary:
        (temporary / "one").mkdir()
        (temporary / "other").mkdir()
        ours = _evaluation(client, one, temporary / "one")
        theirs = _evaluation(client, other, temporary / "other")
        try:
            _must_be_alike(ours, theirs)
            by_metric, incomparable = dict(_paired(ours, theirs)), None
        except WorkError as error:
            by_metric, incomparable = {}, str(error).replace(str(temporary), "…")
        if not by_metric and incomparable is None:
            incomparable = "they have no metric of each example in common"
        first, second = (client.get_run(str(version.run_id)).data.params for version in (one, other))
        names = [name for name in {**first, **second} if first.get(name) != second.get(name)]
        return Compared(
            _shown(client, tracking_uri, one, ours),
            _shown(client, tracking_uri, other, theirs),
            {name: (first.get(name), second.get(name)) for name in sorted(names)},
            by_metric,
            incomparable,
        )


def history_page(client: "MlflowClient", tracking_uri: str, name: str) -> str:
    """Returns where the history of a registered model is: a page, or the place in MLflow."""
    history = open_history(client, tracking_uri, name)
    page = None if history.run_id is None else run_page(tracking_uri, client.get_run(history.run_id))
    return page or f"MLflow experiment {EXPERIMENT}, run {name}, {FILE}"


def _models(client: "MlflowClient") -> "Iterator[RegisteredModel]":
    """Yields all registered models by name; MLflow gives a page of them at a time."""
    token: str | None = None
    while token != "":
        page = client.search_registered_models(order_by=["name ASC"], page_token=token)
        yield from page
        token = page.token or ""


def _listed(version: "ModelVersion", model: "RegisteredModel") -> Listed:
    verdict = version.tags.get(PROMOTED)
    number = int(version.version)
    aliases = sorted(alias for alias, given in model.aliases.items() if int(given) == number)
    return Listed(
        model.name,
        number,
        tuple(sorted(aliases, key=lambda alias: alias != CHAMPION)),
        None if verdict is None else verdict == "true",
        version.tags.get(REASON),
        version.tags.get(tags.RUN),
        version.tags.get(tags.DATASET),
    )


def _shown(client: "MlflowClient", tracking_uri: str, version: "ModelVersion", evaluated: EvaluationFolder) -> Shown:
    listed = _listed(version, client.get_registered_model(version.name))
    others = [found for found in versions_of(client, version.name) if found.version != version.version]
    same = [int(found.version) for found in others if found.tags.get(tags.DATASET) == listed.dataset]
    run = client.get_run(str(version.run_id))
    code, config, weights = (version.tags.get(name) for name in (tags.CODE, tags.CONFIG, tags.WEIGHTS))
    had = versions.trained_with(client, run.info.run_id)
    return Shown(
        listed,
        code,
        config,
        weights,
        run.info.run_id,
        run_page(tracking_uri, run),
        _report(tracking_uri, run),
        had,
        tuple(_differs_here(code, had, run)),
        tuple(same),
        dict(evaluated.metrics),
    )


def _report(tracking_uri: str, run: "Run") -> str:
    """Returns where a person opens the report of a run: a page of the server, or a file of this machine."""
    from mlflow.utils.file_utils import local_file_uri_to_path

    if page := run_page(tracking_uri, run, REPORT):
        return page
    place = str(run.info.artifact_uri)
    return f"{local_file_uri_to_path(place) if place.startswith('file:') else place}/{REPORT}"


def _differs_here(code: str | None, had: dict[str, str], run: "Run") -> list[str]:
    here = environment.of_training(run.data.params.get("training.device", "auto")) if had else {}
    return environment.differences({"code": code, **had}, {"code": code_version(), **here})


def _evaluation(client: "MlflowClient", version: "ModelVersion", place: Path) -> EvaluationFolder:
    return evaluations.load(versions.evaluation_folder(client, str(version.run_id), place))


def _must_be_alike(ours: EvaluationFolder, theirs: EvaluationFolder) -> None:
    """Raises WorkError where the values of examples differ by more than the models, in the bits that a seed draws."""
    (seed, settings), (other_seed, others) = rescoring.conditions(ours), rescoring.conditions(theirs)
    if seed != other_seed:
        raise WorkError(f"they were evaluated with the seeds {seed} and {other_seed}")
    if differing := [name for name in settings if settings[name] != others.get(name)]:
        raise WorkError(f"they were evaluated with other settings: {', '.join(differing)}")


def _paired(ours: EvaluationFolder, theirs: EvaluationFolder) -> Iterator[tuple[str, Comparison]]:
    common = [name for name in rescoring.columns(ours.path / EXAMPLES) if name in ours.metrics]
    there = rescoring.columns(theirs.path / EXAMPLES)
    for name in (name for name in common if name in there):
        first, second = (rescoring.read(place.path / EXAMPLES, name) for place in (ours, theirs))
        yield name, _compared(first, second, ours.metrics[name].unit.removesuffix(" per example"))


def _compared(ours: Values, theirs: Values, unit: str) -> Comparison:
    keys: np.ndarray
    keys, first, second = paired.aligned(ours.keys, ours.of_example, theirs.keys, theirs.of_example)
    return paired.compare(keys, first, second, confidence=0.95, unit=unit)
