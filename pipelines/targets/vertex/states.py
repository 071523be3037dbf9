"""What Vertex AI says of a pipeline job, as a `RunState`."""

from datetime import datetime
from typing import Any

from pipelines.targets import RunState, Status, StepState
from pipelines.targets.tasks import in_order, steps_of, unchanged
from pipelines.targets.vertex.connection import Connection
from pipelines.targets.vertex.jobs import EXPERIMENT

LISTED = ["name", "display_name", "state", "create_time", "end_time", "error", "labels"]
"""The fields that a list of runs needs: the compiled pipeline of each would be 50 kB a run."""

_RUN: dict[str, Status] = {
    "PIPELINE_STATE_QUEUED": "pending",
    "PIPELINE_STATE_PENDING": "pending",
    "PIPELINE_STATE_RUNNING": "running",
    "PIPELINE_STATE_SUCCEEDED": "succeeded",
    "PIPELINE_STATE_FAILED": "failed",
    "PIPELINE_STATE_CANCELLING": "running",
    "PIPELINE_STATE_CANCELLED": "cancelled",
    "PIPELINE_STATE_PAUSED": "pending",
}
_TASK: dict[str, Status] = {
    "PENDING": "pending",
    "RUNNING": "running",
    "SUCCEEDED": "succeeded",
    "CANCEL_PENDING": "running",
    "CANCELLING": "running",
    "CANCELLED": "cancelled",
    "FAILED": "failed",
    "SKIPPED": "skipped",  # its result was in the cache
    "NOT_TRIGGERED": "skipped",  # its condition did not hold
}


def run_state(job: Any, specification: dict[str, Any], connection: Connection) -> RunState:
    """Returns a `PipelineJob` as a run.

    Args:
        job: The job.
        specification: Its pipeline; empty where that is not known.
        connection: Where it runs.
    """
    id = job.name.rpartition("/")[2]
    known, details = steps_of(specification), [_step(task) for task in job.job_detail.task_details]
    status = _RUN.get(job.state.name, "pending")
    steps = in_order(known, details, status)
    reason = _reason(job.error.message) or next((step.reason for step in steps if step.status == "failed"), None)
    if status == "succeeded" and details and unchanged(known, steps):
        status, reason = "skipped", "nothing has changed since the last success"
    return RunState(
        id=id,
        experiment=dict(job.labels).get(EXPERIMENT, job.display_name),
        target="vertex",
        status=status,
        steps=steps,
        created=moment(job.create_time),
        ended=moment(job.end_time),
        link=connection.link(id),
        reason=reason,
    )


def tasks(job: Any, specification: dict[str, Any]) -> dict[str, str | None]:
    """Returns the id of the custom job of each step that has begun, in their order; None while it has none."""
    known = steps_of(specification)
    ran = {task.task_name: _custom_job(task) for task in job.job_detail.task_details}
    return {name: ran[name] for name in known or ran if name in ran}


def moment(value: Any) -> datetime | None:
    """Returns a protobuf's time in UTC; None where there is none."""
    return datetime.fromisoformat(value.rfc3339()) if value else None


def plain(value: Any) -> Any:
    """Returns a protobuf's struct as JSON values."""
    from google.protobuf import json_format

    return json_format.MessageToDict(value)


def own(job: Any) -> dict[str, Any]:
    """Returns the pipeline that a job holds; empty where it only names a published version."""
    pipeline: dict[str, Any] = plain(type(job).pb(job).pipeline_spec)
    return pipeline


def _step(task: Any) -> StepState:
    return StepState(
        name=task.task_name,
        status=_TASK.get(task.state.name, "pending"),
        started=moment(task.start_time),
        ended=moment(task.end_time),
        reason=_reason(task.error.message),
    )


def _custom_job(task: Any) -> str | None:
    detail = task.executor_detail
    job: str = detail.custom_job_detail.job or detail.container_detail.main_job
    return job.rpartition("/")[2] or None


def _reason(message: str) -> str | None:
    return message.strip().partition("\n")[0] or None
