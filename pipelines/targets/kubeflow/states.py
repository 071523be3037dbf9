"""What Kubeflow says of a run, as a `RunState`."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from pipelines.targets import RunState, Status, StepState
from pipelines.targets.kubeflow.connection import Connection
from pipelines.targets.tasks import outcome, steps_of

_STATUS: dict[str, Status] = {
    "PENDING": "pending",
    "RUNNING": "running",
    "SUCCEEDED": "succeeded",
    "SKIPPED": "skipped",
    "FAILED": "failed",
    "CANCELING": "running",
    "CANCELED": "cancelled",
    "PAUSED": "pending",
}
_RETRY = re.compile(r"\(\d+\)$")
_AROUND = re.compile(r"root|executor|(.+-)?driver")
"""The nodes of Argo's workflow around the steps, for a run of a version that was deleted since."""


def run_state(run: Any, specification: dict[str, Any], experiment: str, connection: Connection) -> RunState:
    """Returns a `V2beta1Run` as a run; its specification is empty where that is not known any more."""
    known = steps_of(specification)
    found = [_step(task) for task in _tasks(run) if _is_step(_name(task), known)]
    steps, status, reason = outcome(known, found, _STATUS.get(run.state or "", "pending"), _reason(run.error))
    return RunState(
        id=run.run_id,
        experiment=experiment,
        target="kubeflow",
        status=status,
        steps=steps,
        created=moment(run.created_at),
        ended=moment(run.finished_at),
        link=connection.link(run.run_id),
        reason=reason,
    )


def pods(run: Any, specification: dict[str, Any]) -> dict[str, list[str]]:
    """Returns the pods of each step of a pipeline that has begun, in the order of the steps."""
    known = steps_of(specification)
    by_id = {task.task_id: task for task in _tasks(run)}
    found: dict[str, list[str]] = {}
    for task in _tasks(run):
        name = _name(task)
        if not _is_step(name, known):
            continue
        children = [by_id.get(child.task_id, child) for child in task.child_tasks or []]
        found.setdefault(name, []).extend(pod.pod_name for pod in [task, *children] if pod.pod_name)
    return {name: list(dict.fromkeys(found[name])) for name in known or found if name in found}


def moment(value: datetime | None) -> datetime | None:
    """Returns a time in UTC; Kubeflow writes 1970 for one that has not come."""
    return value.astimezone(UTC) if value is not None and value.year > 1970 else None


def _tasks(run: Any) -> list[Any]:
    return (run.run_details.task_details if run.run_details else None) or []


def _name(task: Any) -> str:
    return _RETRY.sub("", task.display_name or "")


def _is_step(name: str, known: Sequence[str]) -> bool:
    return name in known if known else _AROUND.fullmatch(name) is None


def _step(task: Any) -> StepState:
    return StepState(
        name=_name(task),
        status=_STATUS.get(task.state or "", "pending"),
        started=moment(task.start_time),
        ended=moment(task.end_time),
        reason=_reason(task.error),
    )


def _reason(error: Any) -> str | None:
    message = (error.message if error else None) or ""
    return message.strip().partition("\n")[0] or None
