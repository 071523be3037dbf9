"""A job as Vertex AI takes it: the compiled pipeline, its arguments, and on whose account it runs."""

from typing import Any

from pipelines.targets import Job
from pipelines.targets.vertex.connection import Connection
from settings import RequestError

EXPERIMENT, SCHEDULE, CATCH_UP = "elboflow_experiment", "elboflow_schedule", "elboflow_catch_up"
"""Labels: the experiment of a job, the schedule that it was triggered of by hand, and what a schedule makes up for."""


def pipeline_job(job: Job, connection: Connection, credentials: Any) -> Any:
    """Returns the `PipelineJob` of a job.

    Raises:
        RequestError: It is of a published version, and no repository is known.
    """
    from google.cloud.aiplatform_v1 import types

    source = _published(job, connection) if job.release is not None else None
    text = _download(source, credentials) if source is not None else job.specification
    made = types.PipelineJob(
        display_name=job.name,
        pipeline_spec=_document(text or ""),
        labels={**connection.labels, **job.labels, EXPERIMENT: job.name},
        runtime_config=types.PipelineJob.RuntimeConfig(
            gcs_output_directory=connection.root, parameter_values=job.arguments
        ),
    )
    if source is not None:
        made.template_uri = source
    if connection.encryption_key is not None:
        made.encryption_spec = types.EncryptionSpec(kms_key_name=connection.encryption_key)
    if connection.service_account is not None:
        made.service_account = connection.service_account
    if connection.network is not None:
        made.network = connection.network
    return made


def _document(text: str) -> dict[str, Any]:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where libyaml is
    first: dict[str, Any] = next(yaml.load_all(text, loader))
    return first


def _published(job: Job, connection: Connection) -> str:
    if connection.repository is None:
        raise RequestError("targets.vertex.repository: missing; a published version is kept in one")
    return f"{connection.repository.rstrip('/')}/{job.name}/{job.release}"


def _download(address: str, credentials: Any) -> str:
    from google.auth.transport.requests import AuthorizedSession

    answer = AuthorizedSession(credentials).get(address, timeout=60)
    if answer.status_code == 404:
        raise RequestError(f"{address}: no such published version; `elboflow publish` makes one")
    if answer.status_code in (401, 403):
        raise RequestError(
            f"{address}: may not be read ({answer.status_code}); whoever asks needs roles/artifactregistry.reader"
        )
    answer.raise_for_status()
    return answer.text
