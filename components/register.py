"""A finished run → MLflow: the run with all that belongs to it, a new version of the model, and perhaps the alias."""

import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.binding import agreement
from components.binding.recorded import kinds
from components.config import RegistryConfig
from components.registry import guards, promotion
from components.registry.describe import describe
from components.registry.finished import open_finished
from components.registry.record import record
from components.surroundings.masking import without_userinfo
from components.tracking import handover, liveness, platform_runs, runs, store, tags
from components.tracking.parameters import config_digest
from elboflow import artifacts
from elboflow.vae.evaluation.folder import REPORT
from elboflow.vae.evaluation.report import Version, of_version

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion

logger = logging.getLogger("elboflow.registry")


@dataclass(frozen=True)
class Registration:
    """A registered model version.

    Attributes:
        tracking_uri: The MLflow that holds it, without user and password.
        run_id: The MLflow run.
        model: Name of the registered model.
        version: The version.
        promoted: Whether the alias `champion` moved to this version.
        reason: Why, or why not, in a sentence with numbers.
    """

    tracking_uri: str
    run_id: str
    model: str
    version: int
    promoted: bool
    reason: str


def register(
    dataset: Path | str,
    model: Path | str,
    evaluation: Path | str,
    registry: RegistryConfig,
    experiment: dict[str, Any],
    run: str,
    tracking_uri: str,
    seconds: Mapping[str, float] | None = None,
    report: Path | None = None,
    date: str | None = None,
) -> Registration:
    """Records a finished run in MLflow, registers its model, and promotes it if it is better than the champion.

    Killed and called again, it goes on where it was; called again when done, it returns what was decided then.

    Args:
        dataset: The dataset folder.
        model: The model folder, trained on that dataset.
        evaluation: The evaluation folder of that model on that dataset.
        registry: Name of the registered model, and what a promotion takes.
        experiment: The resolved experiment as JSON values; `name` names the MLflow experiment.
        run: Name of the pipeline run; names the MLflow run.
        tracking_uri: `sqlite:///PATH` or the URL of an MLflow server.
        seconds: How long the steps before took, where that is known.
        report: Where to write the evaluation's report with experiment, run, version and verdict in its head, besides
            `report.html` in the artifacts of the MLflow run.
        date: The date of the data, where their locations have one.

    Raises:
        RequestError: The folders do not belong together, or were made by another experiment, or the run is registered
            with another model; or `registry.decides_by` names no metric that can decide.
        WorkError: A folder is not finished or is damaged, or MLflow cannot be used.
    """
    began = time.monotonic()
    finished = open_finished(dataset, Path(model), Path(evaluation))
    agreement.check_run(experiment, finished.data.manifest, finished.trained, finished.evaluated)
    promotion.check_decides(registry.decides_by, finished.evaluated)
    guards.check(registry.guard, finished.data.dataset)
    name = registry.model or f"{experiment['name']}-vae"
    given = {
        tags.EXPERIMENT: experiment["name"],
        tags.RUN: run,
        tags.DATASET: finished.data.manifest.digest,
        tags.CONFIG: config_digest(experiment),
        tags.CODE: finished.trained.provenance.code,
        tags.WEIGHTS: finished.trained.weights,
    }
    if others := kinds(experiment) | dict(finished.trained.provenance.kinds):
        given[tags.KINDS] = json.dumps(others, sort_keys=True)
    at_work = liveness.tag(tracking_uri, store.registration_lock(tracking_uri)) | tags.of_experiment(experiment, date)
    client = store.connect(tracking_uri)
    with store.exclusive(tracking_uri), store.explained(tracking_uri):
        experiment_id = store.experiment_id(client, tracking_uri, experiment["name"])
        with store.creating_runs(tracking_uri):
            if runs.find(client, experiment_id, run) is None:
                handover.take_over(client, experiment_id, run, finished.trained.weights)
                at_work |= platform_runs.links(client, tracking_uri)
            recorded = runs.find_or_begin(client, experiment_id, run, {**given, **at_work})
        model_id = record(client, recorded, finished, experiment)
        version = _version(client, name, recorded, model_id, given)
        decision = promotion.promote(client, version, finished, registry)
        began_at = datetime.fromtimestamp(recorded.info.start_time / 1000, UTC)
        head = Version(
            experiment["name"], run, began_at, name, int(version.version), decision.promoted, decision.reason
        )
        page = of_version((Path(evaluation) / REPORT).read_text(encoding="utf-8"), head)
        client.log_text(recorded.info.run_id, page, REPORT)
        describe(client, recorded, finished, head, registry.decides_by)
        runs.log_seconds(client, recorded, {**(seconds or {}), "register": time.monotonic() - began})
        runs.end(client, recorded)
    if report is not None:
        report.parent.mkdir(parents=True, exist_ok=True)
        artifacts.write_atomically(report, page)
    logger.info("registered %s version %s, %s: %s", name, version.version, _outcome(decision), decision.reason)
    return Registration(
        without_userinfo(tracking_uri),
        recorded.info.run_id,
        name,
        int(version.version),
        decision.promoted,
        decision.reason,
    )


def _version(client: "MlflowClient", name: str, run: "Run", model_id: str, given: dict[str, str]) -> "ModelVersion":
    import mlflow

    if found := client.search_model_versions(f"name = {store.quoted(name)} and run_id = '{run.info.run_id}'"):
        return found[0]
    # It also makes the registered model, if need be, and links the logged model to the version.
    return mlflow.register_model(f"models:/{model_id}", name, tags=given)


def _outcome(decision: promotion.Decision) -> str:
    return "the new champion" if decision.promoted else "not promoted"
