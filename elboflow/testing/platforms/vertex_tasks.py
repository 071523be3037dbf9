"""The steps of a pipeline job as Vertex AI shows them: task details, and entries of Cloud Logging."""

import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from google.cloud.aiplatform_v1 import types
from google.protobuf import json_format

from elboflow.testing.platforms.clock import now
from elboflow.testing.platforms.containers import LAUNCHER
from elboflow.testing.platforms.custom_jobs import CustomJob
from elboflow.testing.platforms.execution import Step
from elboflow.testing.platforms.messages import RefusedError
from elboflow.testing.platforms.vertex_api import stamp

if TYPE_CHECKING:
    from elboflow.testing.platforms.vertex import Run

_STATE = types.PipelineTaskDetail.State


def message(run: "Run", parent: str) -> Any:
    """Returns a pipeline job as it is now."""
    execution, job = run.execution, type(run.message)()
    job.CopyFrom(run.message)
    job.state = getattr(types.PipelineState, f"PIPELINE_STATE_{execution.state.upper()}")
    for name in ("created", "started", "ended"):
        if (moment := getattr(execution, name)) is not None:
            getattr(job, {"created": "create", "started": "start", "ended": "end"}[name] + "_time").CopyFrom(
                stamp(moment)
            )
    job.update_time.CopyFrom(stamp(execution.ended or now()))
    job.job_detail.task_details.extend(details(run, parent))
    if execution.state == "failed" and execution.failed:
        failed = ", ".join(step.name for step in execution.failed)
        job.error.code = 9
        job.error.message = f"The DAG failed because some tasks failed. The failed tasks are: [{failed}]."
    return job


def details(run: "Run", parent: str) -> list[Any]:
    """Returns the details of the job itself, of each part and step that has begun, and of those never triggered."""
    execution, made = run.execution, []
    top = {"taskId": "1", "taskName": run.id, "state": _state(execution.state), **_times(execution)}
    made.append(top)
    for step in list(execution.steps.values()):
        detail: dict[str, Any] = {
            "taskId": str(step.number + 1),
            "parentTaskId": str((step.parent or 0) + 1),
            "taskName": step.name,
            "taskUniqueName": step.path,
            "state": "SKIPPED" if _is_kept(step) else _state(step.state),
            **_times(step),
        }
        if step.kind == "step" and not _is_kept(step):
            job = f"{parent}/customJobs/{_id(run, step)}"
            launched = _launches(run, step.name)
            detail["executorDetail"] = (
                {"customJobDetail": {"job": job}} if launched else {"containerDetail": {"mainJob": job}}
            )
        if step.kind == "step":
            detail["outputs"] = _artifacts(step, parent)
            detail["execution"] = {
                "schemaTitle": "system.ContainerExecution",
                "metadata": {f"output:{k}": v for k, v in step.outputs.items() if not _is_artifact(v)},
            }
        if step.state == "failed":
            detail["error"] = {"code": 9, "message": _error(step)}
        made.append(detail)
    return [json_format.ParseDict(detail, types.PipelineTaskDetail.pb(types.PipelineTaskDetail())) for detail in made]


def kept(original: "Run", tasks: list[dict[str, Any]]) -> list[Step]:
    """Returns the steps of a job that its repetition takes over: those that are to be skipped.

    Args:
        original: The job.
        tasks: `PipelineTaskRerunConfig`s, as JSON values.
    """
    found = []
    for task in tasks:
        if unknown := set(task) - {"taskId", "taskName", "skipTask"}:
            raise RefusedError(400, f"Invalid JSON payload received. Unknown name {unknown}")
        step = original.execution.steps.get(int(task["taskId"]) - 1)  # 0 is the job itself
        if step is not None and step.path != task["taskName"]:
            raise RefusedError(400, f"The task {task['taskId']} is {step.path}, and not {task['taskName']}.")
        if step is not None and step.kind == "step" and task.get("skipTask"):
            if step.state != "succeeded":
                raise RefusedError(400, f"The task {step.path} has no outputs to skip it with.")
            found.append(step)
    return found


def _is_kept(step: Step) -> bool:
    return step.kind == "step" and step.state == "succeeded" and step.attempts == 0


def log(runs: Iterable["Run"], custom_jobs: dict[str, CustomJob], id: str) -> list[tuple[str, str]]:
    """Returns the lines of the log of a custom job, or of a step that has one, with their times."""
    if id in custom_jobs:
        return _lines(custom_jobs[id].log)
    for run in runs:
        for step in run.execution.steps.values():
            if _id(run, step) == id:
                return _lines(step.log)
    return []


def _id(run: "Run", step: Step) -> str:
    """Returns the id of the custom job that a step is, or has launched."""
    if _launches(run, step.name) and step.log.exists():
        created = re.findall(r"Resource name: \S+/customJobs/(\d+)", step.log.read_text(encoding="utf-8"))
        if created:
            return str(created[-1])
    return str(abs(hash((run.id, step.number))) % 10**15 + 10**15)


def _launches(run: "Run", task: str) -> bool:
    spec = run.execution.run.spec
    executors, components = spec["deploymentSpec"]["executors"], spec.get("components", {})
    dags = [spec["root"]["dag"], *(component["dag"] for component in components.values() if "dag" in component)]
    for dag in dags:
        if task in dag["tasks"]:
            label = components[dag["tasks"][task]["componentRef"]["name"]].get("executorLabel")
            return LAUNCHER in executors.get(label, {}).get("container", {}).get("command", [])
    return False


def _state(state: str) -> str:
    return {"pending": "PENDING", "running": "RUNNING"}.get(state, state.upper())


def _times(task: Any) -> dict[str, str]:
    started, ended = task.started, task.ended
    times = {"createTime": started, "startTime": started, "endTime": ended}
    return {key: time.isoformat().replace("+00:00", "Z") for key, time in times.items() if time is not None}


def _is_artifact(value: Any) -> bool:
    return isinstance(value, dict) and "artifact" in value


def _artifacts(step: Step, parent: str) -> dict[str, Any]:
    found = {}
    for key, value in step.outputs.items():
        if _is_artifact(value):
            artifact = value["artifact"]
            name = f"{parent}/metadataStores/default/artifacts/{abs(hash(artifact['uri']))}"
            described = {"name": name, "displayName": key, "uri": artifact["uri"], "schemaTitle": artifact["schema"]}
            found[key] = {"artifacts": [{**described, "metadata": json.loads(json.dumps(artifact["metadata"]))}]}
    return found


def _error(step: Step) -> str:
    if step.kind == "part":
        return f"The DAG failed because some tasks failed. The failed tasks are: [{step.name}]."
    return (
        "The replica workerpool0-0 exited with a non-zero status of 1. To find out more about why your job exited "
        "please check the logs: https://console.cloud.google.com/logs/viewer?resource=ml_job"
    )


def _lines(path: Path) -> list[tuple[str, str]]:
    if not path.exists():
        return []
    time = datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat().replace("+00:00", "Z")
    return [(time, line) for line in path.read_text(encoding="utf-8", errors="replace").splitlines()]


def entries(lines: list[tuple[str, str]], project: str, job: str, wanted: Any) -> dict[str, Any]:
    """Returns a page of Cloud Logging's entries.

    Args:
        lines: When each was printed, and what.
        project: The project.
        job: The custom job's id.
        wanted: The request.
    """
    first, size = int(wanted.get("pageToken") or 0), int(wanted.get("pageSize", 50))
    resource = {"type": "ml_job", "labels": {"job_id": job, "project_id": project}}
    log = {"logName": f"projects/{project}/logs/workerpool0-0", "resource": resource, "severity": "INFO"}
    page: dict[str, Any] = {
        "entries": [
            {**log, "insertId": str(number), "timestamp": time, "jsonPayload": {"message": line}}
            for number, (time, line) in enumerate(lines[first : first + size], first)
        ]
    }
    if len(lines) > first + size:
        page["nextPageToken"] = str(first + size)
    return page
