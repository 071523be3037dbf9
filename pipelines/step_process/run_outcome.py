"""The outcome of a run, from the final status that a platform gives to the exit task of a pipeline.

Vertex AI gives a state, a message that names the failed tasks of the outermost group, and the job's resource name, by
which the job itself can be asked. Kubeflow Pipelines gives a state, in old versions one of ML Metadata's own.
"""

import logging
import os
import re
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from kfp.dsl import PipelineTaskFinalStatus

from components.finish import registered
from components.surroundings import google, servers
from components.surroundings.notify import Outcome, RunEnd
from elboflow.settings import RequestError, WorkError
from elboflow.settings.variables import VERTEX_ENDPOINT

logger = logging.getLogger("elboflow.ending")

STEPS = (
    *("resolve-date", "decide", "preprocess", "begin", "train", "search"),
    *("worker-pools", "choose", "choose-found", "evaluate", "register"),
)

_STATES: dict[str, Outcome] = {
    "SUCCEEDED": "succeeded",
    "COMPLETE": "succeeded",
    "CACHED": "succeeded",
    "FAILED": "failed",
    "CANCELLED": "cancelled",
    "CANCELED": "cancelled",
}
_VERTEX_JOB = re.compile(r"projects/([^/]+)/locations/([^/]+)/pipelineJobs/([^/]+)")
_SECONDS = 30.0


@dataclass(frozen=True)
class Failure:
    """The step that failed, where it is known, and why; and how long the steps took."""

    step: str | None
    reason: str | None
    seconds: dict[str, float] = field(default_factory=dict)


def run_outcome(
    status: PipelineTaskFinalStatus, experiment: str, run: str, link: str | None, tracking_uri: str
) -> RunEnd:
    """Returns how a run ended.

    Args:
        status: What the platform gave the exit task.
        experiment: The experiment's name.
        run: The run's name.
        link: The run's page, where the platform's status does not tell it.
        tracking_uri: The MLflow that knows whether the run registered its model.
    """
    vertex = _VERTEX_JOB.fullmatch(status.pipeline_job_resource_name or "")
    if vertex is not None:
        project, location, job = vertex.groups()
        link = f"https://console.cloud.google.com/vertex-ai/locations/{location}/pipelines/runs/{job}?project={project}"
    ended = partial(RunEnd, run, experiment, link=link, target="kubeflow" if vertex is None else "vertex")
    outcome = _STATES.get(status.state)
    if outcome in ("failed", "cancelled"):
        failure = (_asked(vertex) if vertex is not None and outcome == "failed" else None) or _told(status)
        return ended(outcome, step=failure.step, reason=failure.reason, seconds=failure.seconds)
    has_registered = _registered(experiment, run, tracking_uri)
    if has_registered or (has_registered is None and outcome == "succeeded"):
        return ended("succeeded")
    if outcome == "succeeded":
        return ended("skipped", reason="nothing had changed since the last success")
    reason = f"no model was registered, and the platform says no more than the state {status.state}"
    return ended("failed", reason=reason)


def _registered(experiment: str, run: str, tracking_uri: str) -> bool | None:
    try:
        return registered(experiment, run, tracking_uri)
    except WorkError as error:
        logger.warning("%s", error)
        return None


def _told(status: PipelineTaskFinalStatus) -> Failure:
    """Reads the message: `The DAG failed because some tasks failed. The failed tasks are: [train].`"""
    message = (status.error_message or "").strip()
    listed = re.search(r"failed tasks are: \[([^\]]*)\]", message)
    names = re.split(r"[,\s]+", listed[1]) if listed else re.findall(r"[\w-]+", message)
    return Failure(next((name for name in names if name in STEPS), None), message or None)


def _asked(vertex: re.Match[str]) -> Failure | None:
    """Asks Vertex AI for the task that failed first. The message of the status names groups of tasks, such as
    `condition-1`, where a task of a group failed."""
    import requests
    from google.auth.exceptions import GoogleAuthError

    endpoint = os.environ.get(VERTEX_ENDPOINT) or f"{vertex[2]}-aiplatform.googleapis.com"
    try:
        job = google.Session(google.credentials(), _SECONDS).get(f"https://{endpoint}/v1/{vertex[0]}")
    except (
        RequestError,
        google.GoogleError,
        GoogleAuthError,
        requests.RequestException,
        servers.NoAnswerError,
    ) as error:
        logger.warning("could not ask Vertex AI which step failed: %s", error)
        return None
    tasks = job.get("jobDetail", {}).get("taskDetails", [])
    failed = [task for task in tasks if task.get("state") == "FAILED" and task.get("taskName") in STEPS]
    if not failed:
        return None
    first = min(failed, key=lambda task: task.get("endTime", ""))
    return Failure(first["taskName"], first.get("error", {}).get("message"), _seconds(tasks))


def _seconds(tasks: list[dict[str, Any]]) -> dict[str, float]:
    times = {
        task["taskName"]: (task["startTime"], task["endTime"])
        for task in tasks
        if task.get("taskName") in STEPS and "startTime" in task and "endTime" in task
    }
    return {
        step: (datetime.fromisoformat(ended) - datetime.fromisoformat(started)).total_seconds()
        for step, (started, ended) in times.items()
    }
