"""A job as Vertex AI takes it: the compiled pipeline, its arguments, and on whose account it runs."""

from typing import Any

from pipelines.targets import Job
from pipelines.targets.vertex.connection import Connection

EXPERIMENT, SCHEDULE, CATCH_UP = "elboflow_experiment", "elboflow_schedule", "elboflow_catch_up"
"""Labels: a job's experiment, the schedule that triggered it by hand, and which missed ticks a schedule catches up."""


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


def document(text: str) -> dict[str, Any]:
    """Returns the pipeline of a compiled one's YAML, whose first document it is."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where libyaml is
    first: dict[str, Any] = next(yaml.load_all(text, loader))
    return first
