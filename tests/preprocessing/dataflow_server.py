"""Dataflow's API on this machine: takes the job that Beam's client describes, and runs the graph that it staged.

A job that is not as the API's protobuf says is refused. The graph is run as Dataflow would, from the staged pipeline
alone, in another process, which knows buckets only by STORAGE_EMULATOR_HOST.
"""

import json
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.cloud import dataflow
from google.protobuf import json_format

from elboflow.testing.platforms.messages import RefusedError, Reply, Request, answer
from elboflow.testing.platforms.wire import WireServer, route

RUN = """
import sys
from apache_beam.io.filesystems import FileSystems
from apache_beam.portability import common_urns, python_urns
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from apache_beam.options.pipeline_options import PipelineOptions
with FileSystems.open(sys.argv[1]) as file:
    pipeline = beam_runner_api_pb2.Pipeline.FromString(file.read())
for environment in pipeline.components.environments.values():
    assert environment.urn == common_urns.environments.DOCKER.urn
    environment.urn, environment.payload = python_urns.EMBEDDED_PYTHON, b""
result = FnApiRunner().run_via_runner_api(pipeline, PipelineOptions([]))
assert result.state == "DONE", result.state
"""
BROKEN = "Traceback (most recent call last):\n  of a worker\nWorkflow failed: the zone is out of machines"


class DataflowServer(WireServer):
    """Jobs of one project and region.

    Attributes:
        jobs: The jobs as they were submitted, as JSON, by their id.
        logs: What their graphs wrote to standard error.
        broken: Whether jobs fail without having run.
        endless: Whether jobs run until they are cancelled, without doing anything.
    """

    def __init__(self, environment: dict[str, str]) -> None:
        super().__init__(token="of-a-robot")
        self.jobs: dict[str, dict[str, Any]] = {}
        self.logs: dict[str, str] = {}
        self.broken = self.endless = False
        self._states: dict[str, str] = {}
        self._environment = environment

    def admit(self, request: Request) -> None:
        if request.path != "/token":
            super().admit(request)

    @route("POST", "/token")
    def token_of_a_service_account(self, request: Request) -> Reply:
        """Exchanges a signed assertion for the token."""
        return answer({"access_token": self.token, "expires_in": 3600, "token_type": "Bearer"})

    @route("POST", "/v1b3/projects/{project}/locations/{region}/jobs")
    def create(self, request: Request, project: str, region: str) -> Reply:
        """Takes a job and runs it to its end."""
        try:
            job = json_format.Parse(request.body, dataflow.Job.pb()(), ignore_unknown_fields=False)
        except json_format.ParseError as error:
            raise RefusedError(400, f"Invalid JSON payload received: {error}") from None
        id = f"2026-01-01_{uuid.uuid4().hex[:8]}"
        self.jobs[id] = json_format.MessageToDict(job)
        if self.broken:
            self.logs[id], self._states[id] = BROKEN, "JOB_STATE_FAILED"
            return answer({**self._job(project, region, id), "currentState": "JOB_STATE_PENDING"})
        if self.endless:
            self.logs[id], self._states[id] = "", "JOB_STATE_RUNNING"
            return self.show(request, project, region, id)
        staged = self.jobs[id]["environment"]["sdkPipelineOptions"]["options"]["pipelineUrl"]
        done = subprocess.run(
            [sys.executable, "-c", RUN, staged],
            env=self._environment,
            capture_output=True,
            encoding="utf-8",
            timeout=120,
        )
        self.logs[id] = done.stderr
        self._states[id] = "JOB_STATE_FAILED" if done.returncode else "JOB_STATE_DONE"
        return self.show(request, project, region, id)

    @route("GET", "/v1b3/projects/{project}/locations/{region}/jobs/{id}")
    def show(self, request: Request, project: str, region: str, id: str) -> Reply:
        """Returns a job."""
        return answer({**self._job(project, region, id), "currentState": self._states[id]})

    @route("PUT", "/v1b3/projects/{project}/locations/{region}/jobs/{id}")
    def cancel(self, request: Request, project: str, region: str, id: str) -> Reply:
        """Cancels a job, which is all that is ever asked of one."""
        assert request.json()["requestedState"] in ("JOB_STATE_CANCELLED", 5)
        self._states[id] = "JOB_STATE_CANCELLED"
        return self.show(request, project, region, id)

    @route("GET", "/v1b3/projects/{project}/locations/{region}/jobs/{id}/messages")
    def messages(self, request: Request, project: str, region: str, id: str) -> Reply:
        """Returns what a job has to say: why it failed."""
        if not self.logs[id] or self._states[id] == "JOB_STATE_DONE":
            return answer({})
        message = {"id": "1", "time": "2026-01-01T00:00:00Z", "messageText": self.logs[id]}
        return answer({"jobMessages": [{**message, "messageImportance": "JOB_MESSAGE_ERROR"}]})

    @property
    def states(self) -> list[str]:
        """The states of all jobs, in their order."""
        return [self._states[id] for id in self.jobs]

    def _job(self, project: str, region: str, id: str) -> dict[str, str]:
        name = self.jobs[id]["name"]
        return {"id": id, "projectId": project, "location": region, "name": name, "type": "JOB_TYPE_BATCH"}


def service_account(folder: Path, token_uri: str) -> Path:
    """Writes the key file of a service account whose tokens come from an address, and returns its path."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    account = {
        "type": "service_account",
        "project_id": "elbo-test",
        "private_key_id": "1",
        "private_key": key.decode(),
        "client_email": "robot@elbo-test.iam.gserviceaccount.com",
        "token_uri": token_uri,
    }
    path = folder / "account.json"
    path.write_text(json.dumps(account), encoding="utf-8")
    return path
