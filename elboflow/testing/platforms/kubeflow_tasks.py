"""The steps of a run as Kubeflow Pipelines shows them: the nodes of Argo's workflow."""

import hashlib
from typing import TYPE_CHECKING, Any

from elboflow.testing.platforms.execution import Step
from elboflow.testing.platforms.kubeflow_api import written

if TYPE_CHECKING:
    from elboflow.testing.platforms.kubeflow import Run

STATES = {
    "pending": "PENDING",
    "running": "RUNNING",
    "succeeded": "SUCCEEDED",
    "failed": "FAILED",
    "cancelled": "CANCELED",
}


def tasks(run: "Run") -> list[dict[str, Any]]:
    """Returns the nodes of Argo's workflow: for each step its driver, itself, and below it the pod."""
    found = []
    for step in list(run.execution.steps.values()):
        state = {"state": STATES[step.state], "run_id": run.id, "create_time": written(step.started)}
        times = {"start_time": written(step.started), "end_time": written(step.ended)}
        node = f"{run.execution.run.resource}-{step.number}"
        task: dict[str, Any] = {**state, **times, "task_id": node, "display_name": step.name}
        driver = {**task, "task_id": f"{node}-driver", "display_name": f"{step.name}-driver", "state": "SUCCEEDED"}
        found += [driver, task]
        if step.kind == "step":
            pod = pod_of(run.id, step)
            task["child_tasks"] = [{"pod_name": pod}]
            found.append({**state, **times, "task_id": pod, "display_name": "executor", "pod_name": pod})
            if step.state == "failed":
                found[-1]["error"] = {"code": 13, "message": "Error (exit code 1)"}
        if step.state == "failed":
            task["error"] = {"code": 13, "message": f"child '{node}' failed"}
    return found


def pod_of(run: str, step: Step) -> str:
    """Returns the name of the pod of a step of a run, by the run's id."""
    return f"{step.name}-{hashlib.sha1(f'{run}/{step.number}'.encode()).hexdigest()[:10]}"
