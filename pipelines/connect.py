"""The connection to a target: as an experiment describes it, or as it was the last time.

A workspace remembers in `targets.json` which platforms it was last used with: addresses, names of projects and of
environment variables, and no secrets. They are asked together in threads, which are daemonic: one that hangs in a
platform's library does not delay the end of the command.
"""

import json
import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from elboflow.artifacts import DamagedError, read_json, write_atomically
from elboflow.settings import RequestError
from pipelines.experiment import Experiment
from pipelines.schedules.local import LocalTarget
from pipelines.targets import NAMES, ScheduleState, Target
from pipelines.workspace import Workspace

MEMORY = "targets.json"
PATIENCE = 10.0
"""Seconds that a platform has for its answer."""

logger = logging.getLogger("elboflow.targets")


def connect(target: str, experiment: Experiment | None, workspace: Workspace) -> Target:
    """Returns a target: as the experiment describes it, or, without one, as the workspace was last used with it.

    The workspace remembers the connection as soon as the platform has answered.

    Raises:
        RequestError: Nothing says how to reach it.
    """
    if target == "local":
        return LocalTarget(workspace)
    client, kind = _platform(target)
    connection = _connection(target, kind, experiment, workspace)
    platform: Target = client(connection, _remember(target, connection, workspace))
    return platform


def _platform(target: str) -> tuple[Any, Any]:
    if target == "kubeflow":
        from pipelines.targets.kubeflow.client import KubeflowClient
        from pipelines.targets.kubeflow.connection import Connection as Cluster

        return KubeflowClient, Cluster
    from pipelines.targets.vertex.client import VertexClient
    from pipelines.targets.vertex.connection import Connection as Project

    return VertexClient, Project


def remembered(workspace: Workspace) -> tuple[str, ...]:
    """Returns the platforms that a workspace remembers."""
    memory = _memory(workspace)
    return tuple(name for name in NAMES if name in memory)


def _connection(target: str, kind: Any, experiment: Experiment | None, workspace: Workspace) -> Any:
    if experiment is not None:
        section = getattr(experiment.targets, target)
        if section is not None:
            return kind.of(section)
        raise RequestError(f"targets.{target}: missing; the experiment {experiment.name} does not say how to reach it")
    remembered = _memory(workspace).get(target)
    if remembered is None:
        raise RequestError(
            f"the workspace {workspace.folder} has not been used with {target} yet; say with --experiment EXPERIMENT "
            f"whose targets.{target} is meant"
        )
    try:
        return kind.model_validate(remembered)
    except ValidationError:
        raise RequestError(
            f"{workspace.folder / MEMORY}: what it remembers of {target} is damaged; say --experiment EXPERIMENT"
        ) from None


def _memory(workspace: Workspace) -> dict[str, Any]:
    try:
        return read_json(workspace.folder / MEMORY, dict)
    except FileNotFoundError:
        return {}
    except DamagedError as error:
        logger.warning("%s; it is written anew when a platform answers", error)
        return {}


def _remember(target: str, connection: Any, workspace: Workspace) -> Callable[[], None]:
    values = connection.model_dump(mode="json")
    done = False

    def remember() -> None:
        nonlocal done
        if not done and (memory := _memory(workspace)).get(target) != values:
            # A convenience: a workspace that cannot be written to is no reason to lose a platform's answer.
            with suppress(OSError):
                write_atomically(workspace.folder / MEMORY, json.dumps({**memory, target: values}, indent=2) + "\n")
        done = True

    return remember


@dataclass(frozen=True)
class Unreachable:
    """A target that did not answer."""

    target: str
    reason: str


def of_all_targets(
    workspace: Workspace, patience: float = PATIENCE
) -> tuple[Sequence[ScheduleState], Sequence[Unreachable]]:
    """Returns the schedules of all targets, and the targets that cannot be reached or do not answer in time."""
    answers: dict[str, list[ScheduleState] | Unreachable] = {}

    def ask(target: str) -> None:
        try:
            answers[target] = connect(target, None, workspace).schedules()
        except Exception as error:  # a fault of one target must not hide the others
            answers[target] = Unreachable(target, " ".join(str(error).split()) or type(error).__name__)

    platforms = [target for target in remembered(workspace) if target != "local"]
    threads = [threading.Thread(target=ask, args=(target,), daemon=True) for target in platforms]
    deadline = time.monotonic() + patience
    for thread in threads:
        thread.start()
    ask("local")
    schedules: list[ScheduleState] = []
    unreachable: list[Unreachable] = []
    for thread in threads:
        thread.join(max(deadline - time.monotonic(), 0.0))
    for target in ("local", *platforms):
        late = f"no answer within {patience:.0f} s; `elboflow schedule list --target {target}` says why"
        answer = answers.get(target, Unreachable(target, late))
        if isinstance(answer, Unreachable):
            unreachable.append(answer)
        else:
            schedules += answer
    return schedules, unreachable
