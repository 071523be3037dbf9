"""The schedules of all targets that a workspace has to do with, in one list.

Each platform is asked in a process of its own: their libraries take a second or two to import, side by side no longer
than the slowest; and one that does not answer is ended.
"""

import json
import multiprocessing
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from multiprocessing.connection import Connection
from typing import Any

from elboflow.settings import RequestError, WorkError
from pipelines.targets import RunState, ScheduleState, Timing
from pipelines.targets.connect import connect, remembered
from pipelines.workspace import Workspace

PATIENCE = 10.0
"""Seconds that a platform has for its answer."""


@dataclass(frozen=True)
class Unreachable:
    """A target that did not answer."""

    target: str
    reason: str


def everywhere(
    workspace: Workspace, patience: float = PATIENCE
) -> tuple[Sequence[ScheduleState], Sequence[Unreachable]]:
    """Returns the schedules of this machine and of all platforms that the workspace remembers.

    A target that cannot be reached, or takes too long, is among the second.
    """
    schedules: list[ScheduleState] = []
    unreachable: list[Unreachable] = []
    deadline = time.monotonic() + patience
    # By fork, so that what is imported already need not be imported again.
    asked = [(target, *_asked(target, workspace)) for target in remembered(workspace) if target != "local"]
    try:
        schedules += connect("local", None, workspace).schedules()
    except (RequestError, WorkError) as error:
        unreachable.append(Unreachable("local", _one_line(error)))
    for target, process, answer in asked:
        reason = f"no answer within {patience:.0f} s; `elboflow schedule list --target {target}` says why"
        if answer.poll(max(deadline - time.monotonic(), 0.0)):
            try:
                found = json.loads(answer.recv_bytes())
                schedules += [_state(schedule) for schedule in found.get("schedules", ())]
                reason = found.get("reason")
            except EOFError:
                reason = "the process that asked ended without a word"
        if reason is not None:
            unreachable.append(Unreachable(target, reason))
        process.kill()
        process.join()
    return schedules, unreachable


def _asked(target: str, workspace: Workspace) -> tuple[multiprocessing.process.BaseProcess, "Connection[Any, Any]"]:
    ours, theirs = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=_ask, args=(target, workspace, theirs), daemon=True)
    process.start()
    theirs.close()
    return process, ours


def _ask(target: str, workspace: Workspace, answer: "Connection[Any, Any]") -> None:
    try:
        found: dict[str, Any] = {"schedules": [asdict(each) for each in connect(target, None, workspace).schedules()]}
    except Exception as error:  # a fault of one target must not hide the others
        found = {"reason": _one_line(error)}
    answer.send_bytes(json.dumps(found, default=datetime.isoformat).encode())  # not send, which pickles


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _state(values: dict[str, Any]) -> ScheduleState:
    timing, last = values.pop("timing"), values.pop("last")
    return ScheduleState(
        timing=Timing(**{**timing, "start": _moment(timing["start"]), "end": _moment(timing["end"])}),
        last=None if last is None else _run(last),
        **{**values, "next": _moment(values["next"])},
    )


def _run(values: dict[str, Any]) -> RunState:
    """Returns a schedule's last run, of which no table shows the steps."""
    times = {name: _moment(values[name]) for name in ("created", "ended")}
    return RunState(**{**values, **times, "steps": ()})


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
