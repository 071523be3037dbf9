"""Vertex AI over TLS REST: pipeline jobs that execute, custom jobs, schedules, operations, and their logs.

Bodies are parsed into the protobufs of `google.cloud.aiplatform_v1`, and what those do not know is refused.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from google.cloud.aiplatform_v1 import types
from google.protobuf import json_format

from elboflow.testing.platforms import quirks, specifications, vertex_tasks
from elboflow.testing.platforms.clock import now
from elboflow.testing.platforms.custom_jobs import CustomJobs
from elboflow.testing.platforms.execution import Execution, Step
from elboflow.testing.platforms.google_identity import ACCOUNT, GoogleIdentity
from elboflow.testing.platforms.jobs import SubmittedRun
from elboflow.testing.platforms.messages import RefusedError, Reply, Request, answer
from elboflow.testing.platforms.storage import StorageServer
from elboflow.testing.platforms.vertex_api import PLACE, PREVIEW, parsed
from elboflow.testing.platforms.vertex_schedules import Schedules
from elboflow.testing.platforms.wire import route

NUMBER = "vertex-ai-pipelines-run-billing-id"
"""The label by which a job's number is told."""
NEVER = datetime(1970, 1, 1, tzinfo=UTC)
"""The time for which a job without a schedule was scheduled."""
AGES = timedelta(days=30)
"""The lifetime of the tokens of Vertex AI's own service agent, which renews them."""


@dataclass
class Run:
    """A pipeline job.

    Attributes:
        id: Its id.
        message: The `PipelineJob`, as it was created.
        execution: Its steps at work.
    """

    id: str
    message: Any
    execution: Execution


class VertexServer(Schedules, CustomJobs):
    """Vertex AI in one project and location.

    Attributes:
        runs: The pipeline jobs by their ids, in the order in which they came.
        certificate: The file of the authority that clients must trust.
    """

    def __init__(
        self,
        folder: Path,
        storage: StorageServer | None = None,
        token: str | None = None,
        project: str = "project",
        location: str = "europe-west4",
        environment: dict[str, str] | None = None,
        identity: GoogleIdentity | None = None,
    ) -> None:
        self._buckets = storage.folder if storage is not None else folder / "buckets"
        self.mounts = {"gs://": f"{self._buckets}/"}
        self.environment = environment or {}
        super().__init__(project, location, token, folder / "custom_jobs", self.mounts, self.environment, identity)
        self.folder = folder
        self.runs: dict[str, Run] = {}
        folder.mkdir(parents=True, exist_ok=True)
        self.certificate = folder / "ca.pem"
        assert self.ca is not None
        self.ca.cert_pem.write_to_path(str(self.certificate))

    def close(self) -> None:
        for run in self.runs.values():
            run.execution.close()
        for job in self.custom_jobs.values():
            job.cancel()

    @route("POST", f"{PLACE}/pipelineJobs")
    def create_job(self, request: Request, project: str, location: str) -> Reply:
        """Takes a pipeline job and executes it."""
        self.here(project, location)
        request.only("pipelineJobId")
        job = parsed(types.PipelineJob, request.json())
        return self.shown(request, self._message(self.start(job, request.one("pipelineJobId"))))

    @route("POST", f"{PREVIEW}/pipelineJobs")
    def rerun_job(self, request: Request, project: str, location: str) -> Reply:
        """Takes a pipeline job that repeats another, and executes of it what is not to be skipped.

        The fields are those of `google.cloud.aiplatform_v1beta1.types.PipelineJob`.
        """
        self.here(project, location)
        request.only("pipelineJobId")
        body = request.json()
        number, tasks = body.pop("originalPipelineJobId", ""), body.pop("pipelineTaskRerunConfigs", [])
        job = parsed(types.PipelineJob, body)
        original = next((run for run in self.runs.values() if run.message.labels[NUMBER] == number), None)
        if original is None:
            raise RefusedError(404, f"The original PipelineJob {number} does not exist.")
        if original.execution.ended is None:
            raise RefusedError(400, f"The original PipelineJob {number} has not ended.")
        kept = vertex_tasks.kept(original, tasks)
        return self.shown(request, self._message(self.start(job, request.one("pipelineJobId"), kept)))

    def start(self, job: Any, id: str = "", kept: Sequence[Step] = (), scheduled: datetime | None = None) -> Run:
        """Checks a pipeline job as Vertex AI does, and executes it."""
        spec, given, root = self._checked(job)
        with self.creating:
            id = id or f"{spec.pipeline_info.name}-{now():%Y%m%d%H%M%S}-{len(self.runs)}"
            if not re.fullmatch(r"[a-z][-a-z0-9]{0,127}", id):
                raise RefusedError(400, f"{id!r} is no valid pipeline job id.")
            if id in self.runs:
                raise RefusedError(409, f"There is already an existing PipelineJob with the resource name: {id}.")
            resource, number = f"{self.parent}/pipelineJobs/{id}", str(self.next_number())
            stood = {
                "{{$.pipeline_job_resource_name}}": resource,
                "{{$.pipeline_job_uuid}}": number,
                "{{$.pipeline_root}}": root,
                "{{$.pipeline_job_schedule_time_utc}}": f"{scheduled or NEVER:%Y-%m-%dT%H:%M:%SZ}",
                "{{$.pipeline_google_cloud_project_id}}": self.project,
                "{{$.pipeline_google_cloud_location}}": self.location,
                "{{$.pipeline_persistent_resource_id}}": "",
            }
            execution = Execution(
                SubmittedRun(
                    spec=quirks.without_retries_in_loops(
                        specifications.replaced(json_format.MessageToDict(spec), stood)
                    ),
                    arguments=given,
                    name=id,
                    resource=resource,
                    root=f"{root.rstrip('/')}/{self.number}",
                    folder=str(self.folder / "runs" / id),
                    mounts=self.mounts,
                    environment=self.environment,
                    **self.faults.of_a_run(),
                    api=self.url,
                    ca=str(self.certificate),
                    token=self._agent_token(),
                ),
                kept=kept,
            )
            job.name = resource
            job.labels[NUMBER] = number
            self.runs[id] = Run(id, job, execution)
        return self.runs[id]

    def _agent_token(self) -> str:
        """Returns the token of the platform itself, which starts the custom jobs of a run, however long that takes."""
        return self.token or "" if self.identity is None else self.identity.tokens.issue(ACCOUNT, lifetime=AGES)

    def check(self, job: Any) -> None:
        """Refuses a pipeline job that could not be executed."""
        self._checked(job)

    @route("GET", f"{PLACE}/pipelineJobs/{{id}}")
    def get_job(self, request: Request, project: str, location: str, id: str) -> Reply:
        """Returns a pipeline job with its task details."""
        self.here(project, location)
        request.only()
        return self.shown(request, self._message(self._run(id)))

    @route("GET", f"{PLACE}/pipelineJobs")
    def list_jobs(self, request: Request, project: str, location: str) -> Reply:
        """Lists pipeline jobs, filtered, ordered, masked and in pages."""
        self.here(project, location)
        request.only("filter", "orderBy", "pageSize", "pageToken", "readMask")
        fields: dict[str, Callable[[Any], Any]] = {
            "display_name": lambda job: job.display_name,
            "schedule_name": lambda job: job.schedule_name,
            "state": lambda job: types.PipelineState(job.state).name,
            "pipeline_name": lambda job: job.pipeline_spec["pipelineInfo"]["name"],
            "create_time": lambda job: job.create_time.ToJsonString(),
        }
        jobs = [self._message(run) for run in self.runs.values()]
        return self.listed(request, "pipelineJobs", jobs, fields)

    @route("POST", f"{PLACE}/pipelineJobs/{{id}}:cancel")
    def cancel_job(self, request: Request, project: str, location: str, id: str) -> Reply:
        """Ends a pipeline job and its processes."""
        self.here(project, location)
        parsed(types.CancelPipelineJobRequest, request.json())
        run = self._run(id)
        if run.execution.ended is not None:
            raise RefusedError(400, f"The PipelineJob {id} is in a terminal state and cannot be cancelled.")
        run.execution.cancel()
        for job in self.custom_jobs.values():
            if job.owner == id:
                job.cancel()
        return answer({})

    @route("DELETE", f"{PLACE}/pipelineJobs/{{id}}")
    def delete_job(self, request: Request, project: str, location: str, id: str) -> Reply:
        """Deletes a pipeline job that has ended."""
        self.here(project, location)
        if self._run(id).execution.ended is None:
            raise RefusedError(400, f"The PipelineJob {id} is running.")
        del self.runs[id]
        return self.operation()

    @route("POST", "/v2/entries:list")
    def entries(self, request: Request) -> Reply:
        """Cloud Logging's `entries.list`: what a custom job printed."""
        wanted = request.json()
        unknown = set(wanted) - {"resourceNames", "filter", "orderBy", "pageSize", "pageToken"}
        found = re.fullmatch(
            r'resource\.type="ml_job" AND resource\.labels\.job_id="(\d+)"(?: AND .*)?', wanted.get("filter", "")
        )
        if unknown or found is None or not wanted.get("resourceNames"):
            raise RefusedError(400, f"Invalid request: {wanted}")
        lines = vertex_tasks.log(self.runs.values(), self.custom_jobs, found[1])
        return answer(vertex_tasks.entries(lines, self.project, found[1], wanted))

    def _message(self, run: Run) -> Any:
        return vertex_tasks.message(run, self.parent)

    def _run(self, id: str) -> Run:
        if id not in self.runs:
            raise RefusedError(404, f"The PipelineJob does not exist: {self.parent}/pipelineJobs/{id}")
        return self.runs[id]

    def _checked(self, job: Any) -> tuple[Any, dict[str, Any], str]:
        """Returns the specification, the arguments and the root of a job."""
        sent = json_format.MessageToDict(job)
        template = self._template(job)
        spec = specifications.checked(template or sent.get("pipelineSpec", {}))
        if template is not None and "pipelineSpec" in sent and specifications.checked(sent["pipelineSpec"]) != spec:
            raise RefusedError(400, "pipelineSpec differs from what templateUri holds.")
        given = specifications.arguments(spec, sent.get("runtimeConfig", {}).get("parameterValues", {}))
        root = job.runtime_config.gcs_output_directory or spec.default_pipeline_root
        if not re.fullmatch(r"gs://[a-z0-9][a-z0-9._-]+(/.*)?", root):
            raise RefusedError(400, f"gcsOutputDirectory must be a Cloud Storage folder: {root!r}")
        if not (self._buckets / root.removeprefix("gs://").partition("/")[0]).is_dir():
            raise RefusedError(400, f"The bucket of {root} does not exist.")
        if NUMBER in job.labels:
            raise RefusedError(400, f"The label {NUMBER} is reserved.")
        _check_labels(job.labels)
        return spec, given, root

    def _template(self, job: Any) -> Any:
        if not job.template_uri:
            return None
        content = self.template(job.template_uri)
        if content is None:
            raise RefusedError(400, f"The template {job.template_uri} does not exist.")
        return next(yaml.safe_load_all(content))


def _check_labels(labels: Any) -> None:
    for key, value in labels.items():
        if not re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", key) or not re.fullmatch(r"[a-z0-9_-]{0,63}", value):
            raise RefusedError(400, f"Invalid label: {key}: {value}")
