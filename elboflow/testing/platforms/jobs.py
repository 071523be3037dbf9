"""What a wire server hands to the process that executes a run."""

from dataclasses import dataclass, field
from typing import Any

PREFIXES = {
    "gs://": "_GCS_LOCAL_MOUNT_PREFIX",
    "minio://": "_MINIO_LOCAL_MOUNT_PREFIX",
    "s3://": "_S3_LOCAL_MOUNT_PREFIX",
}
"""Schemes of artifact stores, with the names in `kfp.dsl.types.artifact_types` of where platforms mount them."""


@dataclass(frozen=True)
class SubmittedRun:
    """A run to execute, as JSON values.

    Attributes:
        spec: The pipeline specification, as it was submitted.
        arguments: The pipeline's arguments.
        name: The job's name: what `dsl.PIPELINE_JOB_NAME_PLACEHOLDER` stands for.
        resource: The job's resource name.
        root: Where artifacts go.
        folder: For logs and what else the execution leaves.
        mounts: For each scheme, the folder, with a slash at its end, in which its buckets lie.
        secrets: For each executor, environment variables from secrets.
        environment: For all steps.
        broken: Steps that break, by number or name.
        rehearsed: Whether steps are only announced.
        step_seconds: How long a rehearsed step takes.
        answers: What the text outputs of rehearsed steps hold, by the step's name.
        kept: What steps of an earlier try made, which are not executed again: their outputs, by their paths.
        hurry: The part of each wait between attempts that is really waited.
        api: The server that launches custom jobs; with `ca`, whose certificate it has, and `token`.
        mlflow: The platform's own run in MLflow of this run (`mlflow_plugin.Recorded`); empty where it makes none.
    """

    spec: dict[str, Any]
    arguments: dict[str, Any]
    name: str
    resource: str
    root: str
    folder: str
    mounts: dict[str, str]
    secrets: dict[str, dict[str, str]] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    rehearsed: bool = False
    step_seconds: float = 0.02
    answers: dict[str, str] = field(default_factory=dict)
    kept: dict[str, dict[str, Any]] = field(default_factory=dict)
    hurry: float = 0.01
    api: str = ""
    ca: str = ""
    token: str = ""
    mlflow: dict[str, str] = field(default_factory=dict)

    def mounted(self, place: str) -> str:
        """Returns where a remote place is mounted."""
        for scheme, folder in self.mounts.items():
            if place.startswith(scheme):
                return folder + place.removeprefix(scheme)
        return place
