"""The schedules of all targets that a workspace has to do with, in one list."""

import queue
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.targets import ScheduleState
from pipelines.targets.connect import connect, remembered
from pipelines.workspace import Workspace

PATIENCE = 10.0
"""Seconds that a target has for its answer."""


@dataclass(frozen=True)
class Unreachable:
    """A target that did not answer."""

    target: str
    reason: str


def everywhere(
    workspace: Workspace, patience: float = PATIENCE
) -> tuple[Sequence[ScheduleState], Sequence[Unreachable]]:
    """Returns the schedules of this machine and of all platforms that the workspace remembers, asked side by side.

    A target that cannot be reached, or takes too long, is among the second.
    """
    targets = ("local", *(target for target in remembered(workspace) if target != "local"))
    answers: queue.Queue[tuple[str, list[ScheduleState] | Unreachable]] = queue.Queue()

    def ask(target: str) -> None:
        try:
            answers.put((target, connect(target, None, workspace).schedules()))
        except Exception as error:  # whatever is wrong with one target is no reason to hide the others
            answers.put((target, Unreachable(target, " ".join(str(error).split()) or type(error).__name__)))

    for target in targets:
        threading.Thread(target=ask, args=(target,), daemon=True).start()  # one that hangs must not hold up the end
    found: dict[str, list[ScheduleState] | Unreachable] = {}
    deadline = time.monotonic() + patience
    while len(found) < len(targets):
        try:
            target, answer = answers.get(timeout=max(deadline - time.monotonic(), 0.001))
        except queue.Empty:
            break
        found[target] = answer
    schedules: list[ScheduleState] = []
    silent: list[Unreachable] = []
    for target in targets:
        match found.get(target, Unreachable(target, f"no answer within {patience:.0f} s")):
            case Unreachable() as one:
                silent.append(one)
            case answered:
                schedules += answered
    return schedules, silent
