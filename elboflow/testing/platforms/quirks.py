"""Faults of the platforms themselves that pipelines of a certain shape meet: found in a specification, and imitated."""

import copy
import re
from collections.abc import Iterator
from typing import Any


def has_loop_in_exit_handler(spec: dict[str, Any]) -> bool:
    """Returns whether a loop stands in an exit handler, directly or in its conditions; not in a pipeline of its own.

    The platforms take such a run, and fail it without an error: https://github.com/kubeflow/pipelines/issues/12390
    """
    components, dags = spec.get("components", {}), _dags(spec)
    inside = [
        given["taskFinalStatus"]["producerTask"]
        for dag in dags
        for task in dag["tasks"].values()
        for given in task.get("inputs", {}).get("parameters", {}).values()
        if "taskFinalStatus" in given
    ]
    guarded = [dag["tasks"][name] for dag in dags for name in inside if name in dag["tasks"]]
    return any(_is_loop(each) for task in guarded for each in _below(task, components, only_groups=True))


def without_retries_in_loops(spec: dict[str, Any]) -> dict[str, Any]:
    """Returns a specification as platforms execute it: https://github.com/kubeflow/pipelines/issues/12389."""
    made = copy.deepcopy(spec)
    for task in _in_loops(made):
        task.pop("retryPolicy", None)
    return made


def retries_in_loops(spec: dict[str, Any]) -> set[str]:
    """Returns the tasks in loops whose retries the platforms ignore, by name."""
    return {task["taskInfo"]["name"] for task in _in_loops(spec) if "retryPolicy" in task}


def _in_loops(spec: dict[str, Any]) -> list[dict[str, Any]]:
    components = spec.get("components", {})
    loops = [task for dag in _dags(spec) for task in dag["tasks"].values() if _is_loop(task)]
    return [task for loop in loops for task in _below(loop, components)]


def _dags(spec: dict[str, Any]) -> list[dict[str, Any]]:
    components = spec.get("components", {})
    return [spec["root"]["dag"], *(component["dag"] for component in components.values() if "dag" in component)]


def _is_loop(task: dict[str, Any]) -> bool:
    return "parameterIterator" in task or "artifactIterator" in task


def _below(task: dict[str, Any], components: dict[str, Any], only_groups: bool = False) -> Iterator[dict[str, Any]]:
    """Yields the tasks within a task; on request only those within control flow, and not in a pipeline of its own."""
    name = task["componentRef"]["name"]
    if only_groups and not re.fullmatch(r"comp-(exit-handler|condition|condition-branches|for-loop)-\d+", name):
        return
    for each in components[name].get("dag", {}).get("tasks", {}).values():
        yield each
        yield from _below(each, components, only_groups)
