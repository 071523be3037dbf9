"""The MLflow run that holds the history of a registered model: how it is found, its files and its charts.

All history runs are in one MLflow experiment. The registered model's tag `elboflow.history` names its run, with the
number and the digest of the last line: so a run that was deleted, and lines that were removed, are noticed. Without
this tag, the run is found by its name, which is that of the registered model.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from components.tracking import store, tags
from elboflow.artifacts.temporary import temporary_folder
from elboflow.settings import WorkError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment, Run

EXPERIMENT = "registered-models"
FILE = "promotions.jsonl"
HISTORY = "elboflow.history"
"""The tag of a registered model: its history run, and the number and the digest of the last line."""


class HistoryRun:
    """The run, its files and its charts.

    Attributes:
        id: Its id.
        is_open: Whether MLflow shows it as running: so a kill leaves it.
    """

    def __init__(self, client: "MlflowClient", run: "Run") -> None:
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        self.id = str(run.info.run_id)
        self.is_open = run.info.status == "RUNNING"
        self._client = client
        # The client would go to where a run of this id was first, also in a copy.
        self._files = get_artifact_repository(run.info.artifact_uri, tracking_uri=str(client.tracking_uri))
        self._known: set[str] = set()

    def fetch(self, file: str, to: Path) -> Path | None:
        """Copies a file into a folder, and returns its path there; None if the run has no such file."""
        if file not in self._known:
            folder = file.rpartition("/")[0] or None
            self._known.update(found.path for found in self._files.list_artifacts(folder))
        return Path(self._files.download_artifacts(file, str(to))) if file in self._known else None

    def text(self) -> str:
        """Returns the content of `promotions.jsonl`; empty if there is none yet."""
        with temporary_folder() as temporary:
            path = self.fetch(FILE, temporary)
            return "" if path is None else path.read_bytes().decode("utf-8", "replace")

    def write(self, file: str, content: bytes) -> None:
        """Writes a file."""
        folder, _, name = file.rpartition("/")
        with temporary_folder() as temporary:
            path = temporary / name
            path.write_bytes(content)
            self._files.log_artifact(str(path), folder or None)

    def chart(self, at: int, metrics: dict[str, tuple[float, int]]) -> None:
        """Adds values to the charts.

        Args:
            at: When, in milliseconds since 1970.
            metrics: Value and step, by name.
        """
        from mlflow.entities import Metric

        points = [Metric(name, value, at, step) for name, (value, step) in metrics.items()]
        self._client.log_batch(self.id, metrics=points)
        if self.is_open:
            self._client.set_terminated(self.id)
            self.is_open = False


def find(client: "MlflowClient", model: str, named: str | None) -> HistoryRun | None:
    """Returns the history run of a registered model; None if it has none yet.

    Args:
        client: MLflow.
        model: Name of the registered model.
        named: The run that its tag names; None if it has no such tag.

    Raises:
        WorkError: The run was deleted.
    """
    if named is None:
        run = _by_name(client, model)
        return None if run is None else HistoryRun(client, run)
    from mlflow import MlflowException

    try:
        run = client.get_run(named)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        raise WorkError(
            f"the history of {model} is the MLflow run {named}, which MLflow does not have any more; to begin a new "
            f"history, remove the tag {HISTORY} of the registered model"
        ) from None
    _exists(client.get_experiment(run.info.experiment_id), model)
    return HistoryRun(client, _not_deleted(run, model))


def begin(client: "MlflowClient", tracking_uri: str, model: str) -> HistoryRun:
    """Makes the history run of a registered model."""
    experiment = store.named_experiment(client, tracking_uri, EXPERIMENT)
    made = client.create_run(experiment, run_name=model, tags=tags.source())
    first = _by_name(client, model) or made
    if first.info.run_id != made.info.run_id:  # another registration was quicker
        client.delete_run(made.info.run_id)
    return HistoryRun(client, first)


def _by_name(client: "MlflowClient", model: str) -> "Run | None":
    from mlflow.entities import LifecycleStage, ViewType

    found = client.get_experiment_by_name(EXPERIMENT)
    if found is None:
        return None
    named, oldest = f"attributes.run_name = {store.quoted(model)}", ["attributes.start_time ASC"]
    _exists(found, model)
    runs = client.search_runs([found.experiment_id], named, ViewType.ALL, order_by=oldest)
    of_others = [run for run in runs if _is_of_another(client, run, model)]
    runs = [run for run in runs if run not in of_others]
    active = [run for run in runs if run.info.lifecycle_stage == LifecycleStage.ACTIVE]
    return _not_deleted((active or runs)[0], model) if runs else None


def _is_of_another(client: "MlflowClient", run: "Run", model: str) -> bool:
    """Returns whether a run is the history of another registered model, which had this name before."""
    of_it = client.search_registered_models(f"tags.`{HISTORY}` LIKE '{run.info.run_id}%'")
    return any(found.name != model for found in of_it)


def _exists(experiment: "Experiment", model: str) -> None:
    if experiment.lifecycle_stage != "active":
        id = experiment.experiment_id
        raise WorkError(
            f"the history of {model} is in the MLflow experiment {experiment.name}, which was deleted; restore it: "
            f"mlflow experiments restore --experiment-id {id}"
        )


def _not_deleted(run: "Run", model: str) -> "Run":
    from mlflow.entities import LifecycleStage

    run_id = run.info.run_id
    if run.info.lifecycle_stage != LifecycleStage.ACTIVE:
        raise WorkError(
            f"the history of {model} is the MLflow run {run_id}, which was deleted; restore it: "
            f"mlflow runs restore --run-id {run_id}"
        )
    return run
