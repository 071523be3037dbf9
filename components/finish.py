"""The end of a run: its final state in MLflow, also of a run that failed before it registered; and a notification."""

import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from components.config import Notification
from components.registry.champion import PROMOTED, REASON
from components.registry.decisions.history import open_history
from components.registry.record import of_test_split
from components.surroundings.code_version import code_version
from components.surroundings.masking import masked
from components.surroundings.notify import Outcome, RunEnd, notify
from components.tracking import liveness, notes, platform_runs, runs, store, tags
from components.tracking.limits import LONGEST_TAG, shortened
from components.tracking.pages import run_page
from components.tracking.parameters import config_digest, log_params
from elboflow.settings import WorkError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion

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
    experiment: dict[str, Any],
    run: str,
    tracking_uri: str,
    began: int | None = None,
    job: str | None = None,
    date: str | None = None,
) -> None:
    """Makes the MLflow run of a pipeline run at its start, with its parameters; without effect where there is one.

    Args:
        experiment: What `Experiment.recorded()` returns.
        run: Name of the pipeline run.
        tracking_uri: The MLflow that holds the runs.
        began: When it began, in milliseconds since 1970; None for now.
        job: The platform's id of the run, on a platform.
        date: The date of its data, where they have one.

    Raises:
        RequestError: The experiment was deleted in MLflow.
        WorkError: MLflow cannot be used.
    """
    client = store.connect(tracking_uri)
    with store.explained(tracking_uri):
        experiment_id = store.experiment_id(client, tracking_uri, experiment["name"])
        with store.creating_runs(tracking_uri):
            known = {**tags.of_experiment(experiment, date), **({tags.JOB: job} if job else {})}
            if (found := runs.find(client, experiment_id, run)) is not None:  # its training was quicker
                for name, value in known.items():
                    if name not in found.data.tags:
                        client.set_tag(found.info.run_id, name, value)
            else:
                given = {
                    **_tags(experiment),
                    **liveness.tag(tracking_uri),
                    **platform_runs.links(client, tracking_uri),
                    **known,
                }
                made = runs.begin(client, experiment_id, run, given, began)
                log_params(client, made.info.run_id, experiment)


def registered(experiment: str, run: str, tracking_uri: str) -> bool:
    """Returns whether a pipeline run has registered its model."""
    client = store.connect(tracking_uri)
    with store.explained(tracking_uri):
        where = store.experiments_with(client, tracking_uri, experiment)
        recorded = runs.find(client, where[0], run) if where else None
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
                given = {
                    **tags.of_experiment(experiment, None),
                    **_tags(experiment),
                    **platform_runs.links(client, tracking_uri),
                }
                run = runs.begin(client, experiment_id, ending.run, given)
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
            note = notes.of_failure(ending.run, ending.status, ending.step, ending.reason, ending.target)
            notes.set_note(client, run.info.run_id, note)
            client.set_terminated(run.info.run_id, _STATES[ending.status])
        return _completed(client, run, ending, tracking_uri)


def _completed(client: "MlflowClient", run: "Run", ended: RunEnd, tracking_uri: str) -> RunEnd:
    versions = client.search_model_versions(f"run_id = {store.quoted(run.info.run_id)}", max_results=1)
    version = versions[0] if versions else None
    verdict = version.tags if version else {}
    on_a_page = (ended.link or "").startswith(("http://", "https://"))
    return replace(
        ended,
        reason=ended.reason or verdict.get(REASON),
        link=ended.link if on_a_page else run_page(tracking_uri, run) or ended.link,
        seconds={**ended.seconds, "total": round(time.time() - run.info.start_time / 1000, 1)},
        model=version.name if version else None,
        version=int(version.version) if version else None,
        promoted=_promoted(client, version, tracking_uri) if PROMOTED in verdict else None,
        metrics=of_test_split(run.data.metrics) or None,
        recovered=_failed_before(client, run) if ended.status == "succeeded" else None,
    )


def _promoted(client: "MlflowClient", version: "ModelVersion", tracking_uri: str) -> bool:
    """Returns whether the decision on a version promoted any: the version itself, or the challenger."""
    try:
        decision = open_history(client, tracking_uri, version.name).of(int(version.version), version.run_id)
    except WorkError as error:
        logger.warning("%s", error)
        decision = None
    if decision is None:
        return version.tags[PROMOTED] == "true"
    return decision.champion is not None and decision.champion != decision.before


def _failed_before(client: "MlflowClient", run: "Run") -> bool:
    """Returns whether a run that succeeded, or the one before it, had failed or was cancelled."""
    if tags.FAILURE in run.data.tags:
        return True
    name = run.data.tags.get(tags.EXPERIMENT, "")
    of_it = f"tags.`{tags.EXPERIMENT}` = {store.quoted(name)} and tags.`{tags.RUN}` != ''"
    earlier = f"attributes.start_time < {run.info.start_time} and {of_it}"
    found = client.search_runs([run.info.experiment_id], earlier, max_results=50, order_by=["start_time DESC"])
    runs_alone = (each for each in found if tags.TRIAL not in each.data.tags)
    ended = (each.info.status for each in runs_alone if each.info.status in _STATES.values())
    return next(ended, "FINISHED") != "FINISHED"


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
