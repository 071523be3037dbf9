"""The steps of a compiled pipeline: which there are, in their order, and how far each is."""

import json
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from elboflow.settings import RequestError
from pipelines.targets import ENDED, Status, StepState

DATE, DECIDE, FINISH = "resolve-date", "decide", "finish"
"""The steps around the work itself: the date of the data, whether anything changed, and what is told of the end."""


def steps_of(specification: dict[str, Any]) -> tuple[str, ...]:
    """Returns the names of the tasks that run containers, in an order in which they can run.

    Args:
        specification: A `PipelineSpec` as JSON values; conditions, loops and exit handlers are looked into.
    """
    components = specification.get("components", {})

    def within(dag: dict[str, Any]) -> list[str]:
        tasks = dag.get("tasks", {})
        found: list[str] = []
        for name in _ordered(tasks):
            inner = components.get(tasks[name].get("componentRef", {}).get("name"), {})
            found += within(inner["dag"]) if "dag" in inner else [name]
        return found

    return tuple(within(specification.get("root", {}).get("dag", {})))


def recorded_in(specification: dict[str, Any]) -> dict[str, Any]:
    """Returns the experiment that a compiled pipeline holds for its last task, without targets, schedule and notify."""
    tasks = specification.get("root", {}).get("dag", {}).get("tasks", {})
    given = tasks.get(FINISH, {}).get("inputs", {}).get("parameters", {}).get("experiment", {})
    constant = given.get("runtimeValue", {}).get("constant", "")
    return dict(json.loads(constant)) if constant else {}


def require_date(specification: dict[str, Any], schedule: str) -> None:
    """Refuses to run a pipeline for a date that has no such parameter, because each run would read the same data."""
    if "date" not in specification.get("root", {}).get("inputDefinitions", {}).get("parameters", {}):
        raise RequestError(f"the data of the schedule {schedule} have no {{date}}: each date would read the same")


def _ordered(tasks: dict[str, Any]) -> list[str]:
    ordered: list[str] = []

    def place(name: str) -> None:
        if name in tasks and name not in ordered:
            for earlier in tasks[name].get("dependentTasks", []):
                place(earlier)
            ordered.append(name)

    for name in sorted(tasks):
        place(name)
    return ordered


def outcome(
    known: Sequence[str], states: Iterable[StepState], status: Status, reason: str | None
) -> tuple[tuple[StepState, ...], Status, str | None]:
    """Returns a run's steps, its status and the reason, as far as the platform tells; `known` is as in `in_order`."""
    steps = in_order(known, states, status)
    reason = reason or next((step.reason for step in steps if step.status == "failed"), None)
    worked = {step.name for step in steps if step.status == "succeeded"} - {DATE, DECIDE, FINISH}
    if status == "succeeded" and steps and DECIDE in known and not worked:
        return steps, "skipped", "nothing has changed since the last success"
    return steps, status, reason


def in_order(known: Sequence[str], states: Iterable[StepState], status: Status) -> tuple[StepState, ...]:
    """Returns the steps of a run in the pipeline's order, those still to come as pending.

    `states` may be of tasks that are no steps; a step of a loop comes several times, and gets a number. Where the
    pipeline is not known, all states are taken.
    """
    begun: dict[str, list[StepState]] = {}
    for state in sorted(states, key=lambda state: (state.started is None, state.started)):
        if not known or state.name in known:
            begun.setdefault(state.name, []).append(state)
    steps: list[StepState] = []
    for name in known or begun:
        for number, state in enumerate(begun.get(name, ()), 1):
            steps.append(state if number == 1 else replace(state, name=f"{name} {number}"))
        if name not in begun and status not in ENDED:
            steps.append(StepState(name, "pending"))
    return tuple(steps)


def unique(experiment: str) -> str:
    """Returns a unique name: NAME-YYYYMMDD-HHMMSS-HEX, in lower case, for ids that want it so.

    A submission that has to be repeated is recognised by it.
    """
    return f"{experiment}-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
