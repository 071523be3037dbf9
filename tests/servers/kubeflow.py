"""Kubeflow Pipelines' v2beta1 REST API: experiments, and runs that execute."""

import hashlib
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from google.protobuf import json_format
from kfp.kubernetes.kubernetes_executor_config_pb2 import KubernetesExecutorConfig

from tests.servers import specifications
from tests.servers.execution import Execution, Step, now
from tests.servers.jobs import SubmittedRun
from tests.servers.kubeflow_api import new_id, strict, written
from tests.servers.kubeflow_pipelines import Pipelines
from tests.servers.kubeflow_schedules import Schedules
from tests.servers.specifications import replaced
from tests.servers.storage import StorageServer
from tests.servers.wire import RefusedError, Reply, Request, answer, route

ROOT = "minio://mlpipeline/v2/artifacts"
_STATES = {
    "pending": "PENDING",
    "running": "RUNNING",
    "succeeded": "SUCCEEDED",
    "failed": "FAILED",
    "cancelled": "CANCELED",
}
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


class KubeflowServer(Schedules, Pipelines):
    """Kubeflow Pipelines on a cluster of one machine.

    Attributes:
        runs: By their ids, in the order in which they came.
        experiments: By their ids.
        secrets: The Kubernetes secrets of the namespace: their values by key, by name.
    """

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
        self.experiments: dict[str, dict[str, Any]] = {}
        self.secrets: dict[str, dict[str, str]] = {}
        folder.mkdir(parents=True, exist_ok=True)
        self.mounts = {"minio://": f"{folder / 'minio'}/", "gs://": f"{storage.folder if storage else folder / 'gs'}/"}

    def close(self) -> None:
        for run in self.runs.values():
            run.execution.close()

    @route("GET", "/apis/v2beta1/healthz")
    def healthz(self, request: Request) -> Reply:
        """Says that it is well."""
        told = {"commit_sha": "unknown", "tag_name": "2.15.2"}
        return answer({**told, "multi_user": self.multi_user, "pipeline_store": "database"})

    @route("POST", "/apis/v2beta1/experiments")
    def create_experiment(self, request: Request) -> Reply:
        """Makes an experiment."""
        body = strict("V2beta1Experiment", request.json())
        with self.creating:
            namespace = self.namespace(body.get("namespace"))
            if not body.get("display_name"):
                raise RefusedError(400, "Invalid input error: Experiment's name cannot be empty")
            if any(each["display_name"] == body["display_name"] for each in self.experiments.values()):
                raise RefusedError(409, f"Already exist error: The name {body['display_name']} already exist.")
            id = new_id()
            made = {**body, "experiment_id": id, "namespace": namespace, "created_at": written(now())}
            self.experiments[id] = {**made, "storage_state": "AVAILABLE"}
        return answer(self.experiments[id])

    @route("GET", "/apis/v2beta1/experiments/{id}")
    def get_experiment(self, request: Request, id: str) -> Reply:
        """Returns an experiment."""
        return answer(self._experiment(id))

    @route("GET", "/apis/v2beta1/experiments")
    def list_experiments(self, request: Request) -> Reply:
        """Lists experiments."""
        namespace = self.namespace(request.one("namespace"))
        found = [each for each in self.experiments.values() if each["namespace"] == namespace]
        return self.listed(request, "experiments", found, ("experiment_id", "display_name", "created_at", "namespace"))

    @route("POST", "/apis/v2beta1/runs")
    def create_run(self, request: Request) -> Reply:
        """Takes a run and executes it."""
        request.only("experiment_id")
        return answer(self.described(self.start(strict("V2beta1Run", request.json()))))

    def start(self, body: dict[str, Any]) -> Run:
        """Checks a run as Kubeflow does, and executes it."""
        if not body.get("display_name"):
            raise RefusedError(400, "Invalid input error: The run name is empty")
        self._experiment(body.get("experiment_id", ""))
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
            execution = Execution(
                SubmittedRun(
                    spec=replaced(json_format.MessageToDict(spec), stood),
                    arguments=given,
                    name=body["display_name"],
                    resource=name,
                    root=f"{root}/{spec.pipeline_info.name}/{id}",
                    folder=str(self.folder / "runs" / id),
                    mounts=self.mounts,
                    secrets=secrets,
                    environment=self.environment,
                    **self.faults.of_a_run(),
                )
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
            if step.kind == "step" and _pod(id, step) == node:
                return Reply(step.log.read_bytes() if step.log.exists() else b"", kind="text/plain")
        raise RefusedError(500, f"error in opening log stream: pods {node!r} not found")

    def described(self, run: Run) -> dict[str, Any]:
        """Returns a run as it is now."""
        execution = run.execution
        state = _STATES[execution.state]
        body: dict[str, Any] = {
            **run.body,
            "state": state,
            "storage_state": "ARCHIVED" if run.archived else "AVAILABLE",
            "created_at": written(execution.created),
            "scheduled_at": written(execution.created),
            "finished_at": written(execution.ended),
            "run_details": {"task_details": self._tasks(run)},
            "state_history": [{"update_time": written(execution.ended or now()), "state": state}],
        }
        if execution.state == "failed":
            failed = ", ".join(step.name for step in execution.failed)
            body["error"] = {"code": 13, "message": f"The run failed in: {failed}"}
        return body

    def _tasks(self, run: Run) -> list[dict[str, Any]]:
        """Returns the nodes of Argo's workflow: for each step its driver, itself, and below it the pod."""
        found = []
        for step in list(run.execution.steps.values()):
            state = {"state": _STATES[step.state], "run_id": run.id, "create_time": written(step.started)}
            times = {"start_time": written(step.started), "end_time": written(step.ended)}
            node = f"{run.execution.run.resource}-{step.number}"
            task: dict[str, Any] = {**state, **times, "task_id": node, "display_name": step.name}
            driver = {**task, "task_id": f"{node}-driver", "display_name": f"{step.name}-driver", "state": "SUCCEEDED"}
            found += [driver, task]
            if step.kind == "step":
                pod = _pod(run.id, step)
                task["child_tasks"] = [{"pod_name": pod}]
                found.append({**state, **times, "task_id": pod, "display_name": "executor", "pod_name": pod})
                if step.state == "failed":
                    found[-1]["error"] = {"code": 13, "message": "Error (exit code 1)"}
            if step.state == "failed":
                task["error"] = {"code": 13, "message": f"child '{node}' failed"}
        return found

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

    def _experiment(self, id: str) -> dict[str, Any]:
        if id not in self.experiments:
            raise RefusedError(404, f"Experiment {id} not found.")
        return self.experiments[id]

    def _run(self, id: str) -> Run:
        if id not in self.runs:
            raise RefusedError(404, f"Run {id} not found.")
        return self.runs[id]


def _pod(run: str, step: Step) -> str:
    return f"{step.name}-{hashlib.sha1(f'{run}/{step.number}'.encode()).hexdigest()[:10]}"
