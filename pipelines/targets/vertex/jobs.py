"""A job as Vertex AI takes it: the compiled pipeline, its arguments, and on whose account it runs."""

from typing import Any

from elboflow.settings import RequestError
from pipelines.targets import Job
from pipelines.targets.tasks import DECIDE, FINISH
from pipelines.targets.vertex.connection import Connection

EXPERIMENT, SCHEDULE, CATCH_UP = "elboflow_experiment", "elboflow_schedule", "elboflow_catch_up"
"""Labels: a job's experiment, the schedule that triggered it by hand, and which missed ticks a schedule catches up."""

_NUMBER = "vertex-ai-pipelines-run-billing-id"
"""The label by which Vertex AI tells a job's number."""

_SUBMITTED = ("displayName", "pipelineSpec", "templateUri", "runtimeConfig", "encryptionSpec", "serviceAccount",
              "network", "reservedIpRanges", "pscInterfaceConfig")  # fmt: skip


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


def rerun(job: Any) -> dict[str, Any]:
    """Returns the `PipelineJob` of v1beta1 that repeats one, with its inputs, from the steps that did not succeed.

    The steps around the work are run again in any case: the first begins the new run in MLflow, the last ends it.
    https://cloud.google.com/vertex-ai/docs/pipelines/rerun-pipeline-task

    Raises:
        RequestError: Vertex AI does not tell the job's number.
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
    return {**given, "labels": labels, "originalPipelineJobId": number, "pipelineTaskRerunConfigs": tasks}


def document(text: str) -> dict[str, Any]:
    """Returns the pipeline of a compiled one's YAML, whose first document it is."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where libyaml is
    first: dict[str, Any] = next(yaml.load_all(text, loader))
    return first
