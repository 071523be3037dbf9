"""Kubeflow Pipelines' v2beta1 REST API: runs that execute."""

import hashlib
import shutil
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from google.protobuf import json_format
from kfp.kubernetes.kubernetes_executor_config_pb2 import KubernetesExecutorConfig

from elboflow.testing.platforms import mlflow_plugin, quirks, specifications
from elboflow.testing.platforms.clock import now
from elboflow.testing.platforms.execution import Execution
from elboflow.testing.platforms.jobs import SubmittedRun
from elboflow.testing.platforms.kubeflow_api import new_id, strict, written
from elboflow.testing.platforms.kubeflow_experiments import Experiments
from elboflow.testing.platforms.kubeflow_pipelines import Pipelines
from elboflow.testing.platforms.kubeflow_schedules import Schedules
from elboflow.testing.platforms.kubeflow_tasks import STATES, pod_of, tasks
from elboflow.testing.platforms.messages import RefusedError, Reply, Request, answer
from elboflow.testing.platforms.specifications import replaced
from elboflow.testing.platforms.storage import StorageServer
from elboflow.testing.platforms.wire import route

ROOT = "minio://mlpipeline/v2/artifacts"
_FIELDS = ("run_id", "display_name", "created_at", "finished_at", "description", "scheduled_at", "storage_state",
           "namespace", "experiment_id", "state", "recurring_run_id", "pipeline_version_id", "pipeline_id")  # fmt: skip


@dataclass
class Run:
    """A run.

    Attributes:
        id: Its id.
        body: The `V2beta1Run`, as it was created.
        execution: Its steps at work.
        archived: Whether it was put away.
    """

    id: str
    body: dict[str, Any]
    execution: Execution
    archived: bool = field(default=False)


class KubeflowServer(Schedules, Pipelines, Experiments):
    """Kubeflow Pipelines on a cluster of one machine.

    Attributes:
        runs: By their ids, in the order in which they came.
        secrets: The Kubernetes secrets of the namespace: their values by key, by name.
        mlflow: The MLflow that runs are recorded in by Kubeflow itself; empty for none.
        version: The version that it has; from 2.17 on, it tells steps for which time their run was scheduled.
    """

    mlflow: str = ""

    def __init__(
        self,
        folder: Path,
        storage: StorageServer | None = None,
        token: str | None = None,
        cookie: str | None = None,
        multi_user: bool = False,
        environment: dict[str, str] | None = None,
    ) -> None:
        super().__init__(token, cookie, multi_user)
        self.folder, self.environment = folder, environment or {}
        self.runs: dict[str, Run] = {}
        self.secrets: dict[str, dict[str, str]] = {}
        self.version = "2.15.2"
        folder.mkdir(parents=True, exist_ok=True)
        self.mounts = {"minio://": f"{folder / 'minio'}/", "gs://": f"{storage.folder if storage else folder / 'gs'}/"}

    def close(self) -> None:
        for run in self.runs.values():
            run.execution.close()

    @route("GET", "/apis/v2beta1/healthz")
    def healthz(self, request: Request) -> Reply:
        """Says that it is well."""
        told = {"commit_sha": "unknown", "tag_name": self.version}
        return answer({**told, "multi_user": self.multi_user, "pipeline_store": "database"})

    @route("POST", "/apis/v2beta1/runs")
    def create_run(self, request: Request) -> Reply:
        """Takes a run and executes it."""
        request.only("experiment_id")
        return answer(self.described(self.start(strict("V2beta1Run", request.json()))))

    def start(self, body: dict[str, Any], scheduled: datetime | None = None) -> Run:
        """Checks a run as Kubeflow does, and executes it."""
        if not body.get("display_name"):
            raise RefusedError(400, "Invalid input error: The run name is empty")
        self.experiment(body.get("experiment_id", ""))
        spec, secrets, given = self.checked(body)
        with self.creating:
            id, name = (
                new_id(),
                f"{spec.pipeline_info.name}-{hashlib.sha1(body['display_name'].encode()).hexdigest()[:5]}",
            )
            root = body.get("runtime_config", {}).get("pipeline_root") or spec.default_pipeline_root or ROOT
            stood = {
                "{{$.pipeline_job_resource_name}}": name,
                "{{$.pipeline_job_uuid}}": id,
                "{{$.pipeline_root}}": root,
            }
            recorded = mlflow_plugin.begun(self.mlflow, body["display_name"]) if self.mlflow else None
            if self.version >= "2.17":
                stood["{{$.pipeline_job_schedule_time_utc}}"] = written(scheduled or now())
            execution = Execution(
                SubmittedRun(
                    spec=quirks.without_retries_in_loops(replaced(json_format.MessageToDict(spec), stood)),
                    arguments=given,
                    name=body["display_name"],
                    resource=name,
                    root=f"{root}/{spec.pipeline_info.name}/{id}",
                    folder=str(self.folder / "runs" / id),
                    mounts=self.mounts,
                    secrets=secrets,
                    environment=self.environment,
                    mlflow={} if recorded is None else recorded.json(),
                    **self.faults.of_a_run(),
                ),
                ended=None if recorded is None else lambda execution: recorded.end(execution.state),
            )
            self.runs[id] = Run(id, {**body, "run_id": id}, execution)
        return self.runs[id]

    def checked(self, body: dict[str, Any]) -> tuple[Any, dict[str, dict[str, str]], dict[str, Any]]:
        """Returns the specification of a run or a recurring run, the secrets of its executors, and its arguments."""
        reference = body.get("pipeline_version_reference")
        if (reference is None) == (body.get("pipeline_spec") is None):
            raise RefusedError(400, "Invalid input error: give either a pipeline_spec or a pipeline_version_reference")
        document = self.version_spec(reference) if reference is not None else body["pipeline_spec"]
        spec = specifications.checked(document.get("pipeline_spec", document))
        given = specifications.arguments(spec, body.get("runtime_config", {}).get("parameters", {}))
        return spec, self._secrets(document.get("platform_spec", {})), given

    @route("GET", "/apis/v2beta1/runs/{id}")
    def get_run(self, request: Request, id: str) -> Reply:
        """Returns a run with its task details."""
        request.only("experiment_id")
        return answer(self.described(self._run(id)))

    @route("GET", "/apis/v2beta1/runs")
    def list_runs(self, request: Request) -> Reply:
        """Lists runs."""
        if request.one("namespace"):
            self.namespace(request.one("namespace"))
        found = [self.described(run) for run in self.runs.values()]
        if request.one("experiment_id"):
            found = [each for each in found if each["experiment_id"] == request.one("experiment_id")]
        return self.listed(request, "runs", found, _FIELDS)

    @route("POST", "/apis/v2beta1/runs/{id}:terminate")
    def terminate_run(self, request: Request, id: str) -> Reply:
        """Ends a run and its processes."""
        run = self._run(id)
        if run.execution.ended is not None:
            raise RefusedError(400, f"Failed to terminate the run {id}: it has ended")
        run.execution.cancel()
        return answer({})

    @route("POST", "/apis/v2beta1/runs/{id}:retry")
    def retry_run(self, request: Request, id: str) -> Reply:
        """Executes a run again but for its pods that succeeded, the exit task's among them; the others are deleted.

        As `GenerateRetryExecution` and Argo do: https://github.com/kubeflow/pipelines/blob/master/backend/src/common/util/workflow.go
        """
        request.only("experiment_id")
        run = self._run(id)
        with self.creating:
            before = run.execution
            if before.state not in ("failed", "cancelled"):
                raise RefusedError(400, f"Failed to retry run {id}: Workflow must be Failed/Error to retry")
            for step in before.steps.values():
                if step.kind == "step" and step.state != "succeeded":
                    shutil.rmtree(before.run.mounted(f"{before.run.root}/{before.run.name}/{step.name}"), True)
            again = replace(before.run, folder=f"{before.run.folder}-again", **self.faults.of_a_run())
            run.execution = Execution(again, kept=before.succeeded)
            run.execution.created = before.created
        return answer({})

    @route("POST", "/apis/v2beta1/runs/{id}:archive")
    def archive_run(self, request: Request, id: str) -> Reply:
        """Puts a run away."""
        self._run(id).archived = True
        return answer({})

    @route("DELETE", "/apis/v2beta1/runs/{id}")
    def delete_run(self, request: Request, id: str) -> Reply:
        """Deletes a run."""
        self._run(id).execution.close()
        del self.runs[id]
        return answer({})

    @route("GET", "/apis/v1alpha1/runs/{id}/nodes/{node}/log")
    def log(self, request: Request, id: str, node: str) -> Reply:
        """Returns what a pod printed."""
        for step in self._run(id).execution.steps.values():
            if step.kind == "step" and pod_of(id, step) == node:
                return Reply(step.log.read_bytes() if step.log.exists() else b"", kind="text/plain")
        raise RefusedError(500, f"error in opening log stream: pods {node!r} not found")

    def described(self, run: Run) -> dict[str, Any]:
        """Returns a run as it is now."""
        execution = run.execution
        state = STATES[execution.state]
        body: dict[str, Any] = {
            **run.body,
            "state": state,
            "storage_state": "ARCHIVED" if run.archived else "AVAILABLE",
            "created_at": written(execution.created),
            "scheduled_at": written(execution.created),
            "finished_at": written(execution.ended),
            "run_details": {"task_details": tasks(run)},
            "state_history": [{"update_time": written(execution.ended or now()), "state": state}],
        }
        if execution.state == "failed" and execution.failed:
            failed = ", ".join(step.name for step in execution.failed)
            body["error"] = {"code": 13, "message": f"The run failed in: {failed}"}
        return body

    def _secrets(self, platform: dict[str, Any]) -> dict[str, dict[str, str]]:
        """Returns the environment variables that executors get from secrets; a secret that is not there is refused."""
        executors = platform.get("platforms", {}).get("kubernetes", {}).get("deploymentSpec", {}).get("executors", {})
        found: dict[str, dict[str, str]] = {}
        for label, config in executors.items():
            try:
                parsed = json_format.ParseDict(config, KubernetesExecutorConfig())
            except json_format.ParseError as error:
                raise RefusedError(400, f"Invalid input error: Failed to parse the platform spec: {error}") from None
            for secret in parsed.secret_as_env:
                name = secret.secret_name or secret.secret_name_parameter.runtime_value.constant.string_value
                for pair in secret.key_to_env:
                    if pair.secret_key not in self.secrets.get(name, {}):
                        raise RefusedError(400, f"secret {name!r} with the key {pair.secret_key!r} not found")
                    found.setdefault(label, {})[pair.env_var] = self.secrets[name][pair.secret_key]
        return found

    def _run(self, id: str) -> Run:
        if id not in self.runs:
            raise RefusedError(404, f"Run {id} not found.")
        return self.runs[id]
