"""A pipeline job as Vertex AI takes it, and what Vertex AI says of one, as a `RunState`."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from elboflow.settings import RequestError
from pipelines.targets import Job, RunState, Status, StepState
from pipelines.targets.tasks import DATE as RESOLVE_DATE
from pipelines.targets.tasks import DECIDE, FINISH, outcome, steps_of
from pipelines.targets.vertex.connection import Connection
from preprocessing import dates

EXPERIMENT, SCHEDULE, CATCH_UP = "elboflow_experiment", "elboflow_schedule", "elboflow_catch_up"
"""Labels: a job's experiment, the schedule that triggered it by hand, and which missed ticks a schedule catches up."""
DATE = "elboflow_date"
"""The label of a run for a date."""
NAME, GROUP, JOB = "elboflow_name", "elboflow_group", "elboflow_job"
"""Labels of a schedule with a name: the name, the schedules it is kept together with, and its job's digest."""
LISTED = "name,displayName,state,createTime,endTime,error,labels"
"""The fields that a list of runs needs: the compiled pipeline of each would be 50 kB a run."""

_NUMBER = "vertex-ai-pipelines-run-billing-id"
"""The label by which Vertex AI tells a job's number."""

_SUBMITTED = ("displayName", "pipelineSpec", "templateUri", "runtimeConfig", "encryptionSpec", "serviceAccount",
              "network", "reservedIpRanges", "pscInterfaceConfig")  # fmt: skip
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
    """Returns a `PipelineJob` as a run; its specification is empty where that is not known."""
    id = job["name"].rpartition("/")[2]
    tasks = _details(job)
    found, status = [_step(task) for task in tasks], _RUN.get(job.get("state"), "pending")
    steps, status, reason = outcome(steps_of(specification), found, status, _reason(job))
    if status == "skipped" and any(task.get("state") == "SKIPPED" for task in tasks):
        status, reason = "succeeded", None  # it repeats a run whose work was done
    return RunState(
        id=id,
        experiment=job.get("labels", {}).get(EXPERIMENT, job.get("displayName", "")),
        target="vertex",
        status=status,
        steps=steps,
        created=moment(job, "createTime"),
        ended=moment(job, "endTime"),
        link=connection.link(id),
        reason=reason,
    )


def tasks(job: Any, specification: dict[str, Any]) -> dict[str, str | None]:
    """Returns the id of the custom job of each step that has begun, in their order; None while it has none."""
    known = steps_of(specification)
    ran = {task["taskName"]: _custom_job(task.get("executorDetail", {})) for task in _details(job)}
    return {name: ran[name] for name in known or ran if name in ran}


def moment(resource: Any, field: str) -> datetime | None:
    """Returns a time of a resource, in UTC; None where there is none."""
    return datetime.fromisoformat(resource[field]) if field in resource else None


def _details(job: Any) -> list[Any]:
    found: list[Any] = job.get("jobDetail", {}).get("taskDetails", [])
    return found


def _step(task: Any) -> StepState:
    return StepState(
        name=task["taskName"],
        status=_TASK.get(task.get("state"), "pending"),
        started=moment(task, "startTime"),
        ended=moment(task, "endTime"),
        reason=_reason(task),
    )


def _custom_job(executor: Any) -> str | None:
    job: str = executor.get("customJobDetail", {}).get("job") or executor.get("containerDetail", {}).get("mainJob", "")
    return job.rpartition("/")[2] or None


def _reason(resource: Any) -> str | None:
    message: str = resource.get("error", {}).get("message", "")
    return message.strip().partition("\n")[0] or None


def pipeline_job(job: Job, connection: Connection) -> dict[str, Any]:
    """Returns the `PipelineJob` of a job. A published version is named, and read by Vertex AI itself."""
    made: dict[str, Any] = {
        "displayName": job.name,
        "labels": {**connection.labels, **job.labels, EXPERIMENT: job.name},
        "runtimeConfig": {"gcsOutputDirectory": connection.root, "parameterValues": job.arguments},
    }
    if job.specification is not None:
        made["pipelineSpec"] = document(job.specification)
    key = connection.encryption_key
    optional = {
        "templateUri": job.release,
        "encryptionSpec": None if key is None else {"kmsKeyName": key},
        "serviceAccount": connection.service_account,
        "network": connection.network,
    }
    return made | {name: value for name, value in optional.items() if value is not None}


def rerun(job: Any, specification: dict[str, Any]) -> dict[str, Any]:
    """Returns the `PipelineJob` of v1beta1 that repeats one, with its inputs, from the steps that did not succeed.

    The steps around the work are run again in any case: the first begins the new run in MLflow, the last ends it.
    https://cloud.google.com/vertex-ai/docs/pipelines/rerun-pipeline-task

    Raises:
        RequestError: Vertex AI does not tell the job's number, or for which date it was started.
    """
    labels = dict(job.get("labels", {}))
    number = labels.pop(_NUMBER, None)
    if number is None:
        raise RequestError(f"{job['name']}: has no label {_NUMBER}, by which Vertex AI would know what to repeat")
    if schedule := job.get("scheduleName"):
        labels[SCHEDULE] = schedule.rpartition("/")[2]
    tasks = [
        {
            "taskId": task["taskId"],
            "taskName": task.get("taskUniqueName", ""),
            "skipTask": task.get("state") in ("SUCCEEDED", "SKIPPED") and task["taskName"] not in (DECIDE, FINISH),
        }
        for task in job.get("jobDetail", {}).get("taskDetails", [])
    ]
    given = {field: job[field] for field in _SUBMITTED if field in job}
    if (date := _unresolved_date(job, specification)) is not None:
        runtime = given.get("runtimeConfig", {})
        given["runtimeConfig"] = {**runtime, "parameterValues": {**runtime.get("parameterValues", {}), "date": date}}
    return {**given, "labels": labels, "originalPipelineJobId": number, "pipelineTaskRerunConfigs": tasks}


def _unresolved_date(job: Any, specification: dict[str, Any]) -> str | None:
    """Returns the date of a job that ended before its step `resolve-date` did; None where it is known, or has none.

    It is that of the job's creation, on the clocks of its pipeline: the placeholder of a repetition, which no schedule
    starts, holds no time.
    """
    known = specification.get("root", {}).get("inputDefinitions", {}).get("parameters", {})
    values = job.get("runtimeConfig", {}).get("parameterValues", {})
    given = {key: values.get(key, known.get(key, {}).get("defaultValue")) for key in ("date", "timezone")}
    is_resolved = any(task["taskName"] == RESOLVE_DATE and task.get("state") == "SUCCEEDED" for task in _details(job))
    if "date" not in known or given["date"] or is_resolved:
        return None
    if job.get("scheduleName") and job.get("labels", {}).get(CATCH_UP) == "all":
        raise RequestError(
            f"{job['name']}: Vertex AI does not tell for which date it was started, because its schedule makes up for "
            "missed ticks: `elboflow schedule backfill` runs the date"
        )
    created = datetime.fromisoformat(job["createTime"]).astimezone(ZoneInfo(given["timezone"] or "UTC"))
    return dates.written(created.replace(tzinfo=None))


def document(text: str) -> dict[str, Any]:
    """Returns the pipeline of a compiled one's YAML, whose first document it is."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where libyaml is
    first: dict[str, Any] = next(yaml.load_all(text, loader))
    return first
