"""The MLflow run of a pipeline run, from its beginning to its end.

Each function can be called twice with the effect of once, so that a step that was killed is simply run again.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from components.tracking import tags
from components.tracking.store import quoted
from elboflow.settings import RequestError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


def find(client: "MlflowClient", experiment_id: str, run: str) -> "Run | None":
    """Returns the MLflow run of a pipeline run, if there is one."""
    found = client.search_runs([experiment_id], f"tags.`{tags.RUN}` = {quoted(run)}", max_results=1)
    return found[0] if found else None


def at_work_on(client: "MlflowClient", experiment_id: str, folder: Path) -> "Run | None":
    """Returns the MLflow run of the pipeline run, on a platform, that a step's output folder belongs to.

    The run's name is no input of a training, with which no run would find the cached result of another. Its folder
    tells: Vertex AI keeps what a run writes under its name, Kubeflow under its id. A run that failed is retried by
    Kubeflow under the same id.
    """
    at_work = f"attributes.status != 'FINISHED' and tags.`{tags.JOB}` != ''"
    for found in client.search_runs([experiment_id], at_work):
        if {found.data.tags.get(tags.RUN), found.data.tags[tags.JOB]} & set(folder.parts):
            return found
    return None


def begin(
    client: "MlflowClient", experiment_id: str, run: str, given: dict[str, str], began: int | None = None
) -> "Run":
    """Makes the MLflow run of a pipeline run.

    Args:
        client: A client.
        experiment_id: The MLflow experiment.
        run: Name of the pipeline run.
        given: Tags besides the run's name and MLflow's own.
        began: The time at which it began, in milliseconds since 1970; None for now.
    """
    every = {**tags.source(), **tags.commit(given.get(tags.CODE)), **given, tags.RUN: run}
    return client.create_run(experiment_id, start_time=began, run_name=run, tags=every)


def find_or_begin(client: "MlflowClient", experiment_id: str, run: str, given: dict[str, str]) -> "Run":
    """Returns the MLflow run in which a pipeline run registers its model; it is made where there is none.

    Args:
        client: A client.
        experiment_id: The MLflow experiment.
        run: Name of the pipeline run.
        given: Tags that the run has from now on; `tags.WEIGHTS` is one of them.

    Raises:
        RequestError: There is one, of another model.
    """
    from mlflow.entities import RunTag

    found = find(client, experiment_id, run)
    if found is None:
        return begin(client, experiment_id, run, given)
    has, run_id = found.data.tags, found.info.run_id
    if has.get(tags.WEIGHTS, given[tags.WEIGHTS]) != given[tags.WEIGHTS]:
        raise RequestError(
            f"the run {run!r} was registered with another model (MLflow run {run_id}); "
            "register this one under another run name: elboflow step register --run NAME"
        )
    # It may have failed before it had a model, and have been tried again; or be the parent of a sweep.
    given = {**tags.commit(given.get(tags.CODE)), **given}
    if lacking := [RunTag(name, value) for name, value in given.items() if has.get(name) != value]:
        client.log_batch(run_id, tags=lacking)
    return found


def log_seconds(client: "MlflowClient", run: "Run", seconds: Mapping[str, float]) -> None:
    """Writes how long the steps of a run took, as the metrics `seconds/STEP`; one that has finished keeps its own."""
    from mlflow.entities import Metric

    if run.info.status == "FINISHED":
        return
    now = round(1000 * time.time())
    named = {f"seconds/{step}": round(value, 1) for step, value in seconds.items()}
    if metrics := [Metric(name, value, now, 0) for name, value in named.items() if run.data.metrics.get(name) != value]:
        client.log_batch(run.info.run_id, metrics=metrics)


def end(client: "MlflowClient", run: "Run") -> None:
    """Ends the MLflow run of a pipeline run that succeeded, and removes the failure of an earlier try."""
    if run.info.status == "FINISHED":
        return  # and keeps the time at which it ended
    for tag in (tags.STEP, tags.FAILURE):
        if tag in run.data.tags:
            client.delete_tag(run.info.run_id, tag)
    client.set_terminated(run.info.run_id)
