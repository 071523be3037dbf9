"""A job as Vertex AI takes it: the compiled pipeline, its arguments, and on whose account it runs."""

from typing import Any

from pipelines.targets import Job
from pipelines.targets.vertex.connection import Connection
from pipelines.targets.vertex.services import types

EXPERIMENT, SCHEDULE, CATCH_UP = "elboflow_experiment", "elboflow_schedule", "elboflow_catch_up"
"""Labels: the experiment of a job, the schedule that it was triggered of by hand, and what a schedule makes up for."""


def pipeline_job(job: Job, connection: Connection) -> Any:
    """Returns the `PipelineJob` of a job. A published version is named, and read by Vertex AI itself."""
    messages = types("pipeline_job")
    made = messages.PipelineJob(
        display_name=job.name,
        labels={**connection.labels, **job.labels, EXPERIMENT: job.name},
        runtime_config=messages.PipelineJob.RuntimeConfig(
            gcs_output_directory=connection.root, parameter_values=job.arguments
        ),
    )
    if job.specification is not None:
        made.pipeline_spec = document(job.specification)
    if job.release is not None:
        made.template_uri = job.release
    if connection.encryption_key is not None:
        made.encryption_spec = types("encryption_spec").EncryptionSpec(kms_key_name=connection.encryption_key)
    if connection.service_account is not None:
        made.service_account = connection.service_account
    if connection.network is not None:
        made.network = connection.network
    return made


def document(text: str) -> dict[str, Any]:
    """Returns the pipeline of a compiled one's YAML, whose first document it is."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where libyaml is
    first: dict[str, Any] = next(yaml.load_all(text, loader))
    return first
