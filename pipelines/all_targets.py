"""The schedules of this machine and of all platforms that a workspace remembers, in one list.

Each platform is asked in a thread, so that the slowest decides how long it takes. Threads are daemonic: one that hangs
in a platform's library does not delay the end of the command.
"""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.connect import connect, remembered
from pipelines.targets import ScheduleState
from pipelines.workspace import Workspace

PATIENCE = 10.0
"""Seconds that a platform has for its answer."""


@dataclass(frozen=True)
class Unreachable:
    """A target that did not answer."""

    target: str
    reason: str


def all_targets(workspace: Workspace, patience: float) -> tuple[Sequence[ScheduleState], Sequence[Unreachable]]:
    """Returns the schedules of all targets, and the targets that cannot be reached or do not answer in time.

    Args:
        workspace: The workspace.
        patience: Seconds that each platform has for its answer.
    """
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
