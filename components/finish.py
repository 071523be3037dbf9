"""The end of a run: its final state in MLflow, also of a run that failed before it registered; and a notification."""

import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from components.config import Notification
from components.registry.promotion import PROMOTED, REASON
from components.registry.record import TEST
from components.surroundings.code_version import code_version
from components.surroundings.masking import masked
from components.surroundings.notify import Outcome, RunEnd, notify
from components.tracking import liveness, runs, store, tags
from components.tracking.limits import LONGEST_TAG, shortened
from components.tracking.pages import run_page
from components.tracking.parameters import config_digest, log_params

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

logger = logging.getLogger("elboflow.registry")

_STATES: dict[Outcome, str] = {"succeeded": "FINISHED", "failed": "FAILED", "cancelled": "KILLED"}


def finish(
    ending: RunEnd,
    experiment: dict[str, Any],
    notification: Notification | None,
    tracking_uri: str,
) -> None:
    """Writes how a run ended into MLflow, and sends a notification where one is asked for.

    A run that failed before it was in MLflow is made, with its parameters. One that registered stays FINISHED, also if
    a later step failed. A run that was skipped leaves nothing. A second call changes nothing, but notifies again.

    Args:
        ending: How it ended; secrets in it are hidden here.
        experiment: What `Experiment.recorded()` returns.
        notification: Where to send it; None: nowhere. A notification that cannot be sent is logged, and never raised.
        tracking_uri: The MLflow that holds the runs.

    Raises:
        RequestError: The experiment was deleted in MLflow. The notification is sent before.
        WorkError: MLflow cannot be used. The notification is sent before.
    """
    step, reason, link = (text and masked(text) for text in (ending.step, ending.reason, ending.link))
    ending = replace(ending, step=step, reason=reason, link=link)
    try:
        if ending.status in _STATES:
            ending = _record(ending, experiment, tracking_uri)
    finally:
        if notification is not None:
            notify(ending, notification)


def begin(
    experiment: dict[str, Any], run: str, tracking_uri: str, began: int | None = None, job: str | None = None
) -> None:
    """Makes the MLflow run of a pipeline run at its start, with its parameters; without effect where there is one.

    Args:
        experiment: What `Experiment.recorded()` returns.
        run: Name of the pipeline run.
        tracking_uri: The MLflow that holds the runs.
        began: When it began, in milliseconds since 1970; None for now.
        job: The platform's id of the run, on a platform.

    Raises:
        RequestError: The experiment was deleted in MLflow.
        WorkError: MLflow cannot be used.
    """
    client = store.connect(tracking_uri)
    with store.explained(tracking_uri):
        experiment_id = store.experiment_id(client, tracking_uri, experiment["name"])
        with store.creating_runs(tracking_uri):
            if runs.find(client, experiment_id, run) is None:
                given = {**_tags(experiment), **liveness.tag(tracking_uri), **({tags.JOB: job} if job else {})}
                made = runs.begin(client, experiment_id, run, given, began)
                log_params(client, made.info.run_id, experiment)


def registered(experiment: str, run: str, tracking_uri: str) -> bool:
    """Returns whether a pipeline run has registered its model."""
    client = store.connect(tracking_uri)
    with store.explained(tracking_uri):
        found = client.get_experiment_by_name(experiment)
        recorded = runs.find(client, found.experiment_id, run) if found else None
    return recorded is not None and recorded.info.status == "FINISHED"


def _record(ending: RunEnd, experiment: dict[str, Any], tracking_uri: str) -> RunEnd:
    """Writes how a run ended into its MLflow run, and returns it with what MLflow knows."""
    client = store.connect(tracking_uri)
    with store.explained(tracking_uri):
        experiment_id = store.experiment_id(client, tracking_uri, ending.experiment)
        with store.creating_runs(tracking_uri):
            run = runs.find(client, experiment_id, ending.run)
            if run is None and ending.status == "succeeded":
                return ending  # its steps registered nothing; that is theirs to do
            if run is None:
                run = runs.begin(client, experiment_id, ending.run, _tags(experiment))
                log_params(client, run.info.run_id, experiment)
        if ending.status != "succeeded" and run.info.status == "FINISHED":
            logger.warning(
                "%s %s after it had registered its model; MLflow keeps it as finished", ending.run, ending.status
            )
            _tag(client, run, replace(ending, step=None, reason=None))
        else:
            _tag(client, run, ending)
        runs.log_seconds(client, run, ending.seconds)
        if ending.status == "succeeded":
            runs.end(client, run)
        elif run.info.status != "FINISHED":
            client.set_terminated(run.info.run_id, _STATES[ending.status])
        return _completed(client, run, ending, tracking_uri)


def _completed(client: "MlflowClient", run: "Run", ended: RunEnd, tracking_uri: str) -> RunEnd:
    versions = client.search_model_versions(f"run_id = {store.quoted(run.info.run_id)}", max_results=1)
    version = versions[0] if versions else None
    verdict = version.tags if version else {}
    measured = run.data.metrics
    tests = {name: value for name, value in measured.items() if f"{name}_low" in measured}
    on_a_page = (ended.link or "").startswith(("http://", "https://"))
    return replace(
        ended,
        reason=ended.reason or verdict.get(REASON),
        link=ended.link if on_a_page else run_page(tracking_uri, run) or ended.link,
        seconds={**ended.seconds, "total": round(time.time() - run.info.start_time / 1000, 1)},
        model=version.name if version else None,
        version=int(version.version) if version else None,
        promoted=verdict[PROMOTED] == "true" if PROMOTED in verdict else None,
        metrics={name.removeprefix(TEST): value for name, value in tests.items()} or None,
    )


def _tags(experiment: dict[str, Any]) -> dict[str, str]:
    return {
        tags.EXPERIMENT: experiment["name"],
        tags.CONFIG: config_digest(experiment),
        tags.CODE: code_version(),
    }


def _tag(client: "MlflowClient", run: "Run", ending: RunEnd) -> None:
    from mlflow.entities import RunTag

    values = {tags.STEP: ending.step, tags.FAILURE: ending.reason, tags.LINK: ending.link}
    if given := [RunTag(name, shortened(value, LONGEST_TAG)) for name, value in values.items() if value]:
        client.log_batch(run.info.run_id, tags=given)
