"""Runs of this machine in MLflow, written by processes of their own: no run waits for the import of MLflow."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from typing import Any

from elboflow.artifacts import child
from elboflow.settings import RequestError, WorkError
from pipelines.targets import seconds
from pipelines.targets.local.record import Record
from pipelines.workspace import Workspace

LONGEST = 60
"""Seconds that such a process has: an MLflow that does not answer is given up."""
MOMENT = 2.0
"""Seconds that a command which was interrupted waits for the process."""


def begin(run: Record, experiment: dict[str, Any], tracking_uri: str, date: str | None = None) -> None:
    """Has the MLflow run of a run made, while the first step is at work."""
    _start("begin", {"begun": {**_begun(run, experiment, tracking_uri), "date": date}})


def end(
    run: Record, experiment: dict[str, Any], workspace: Workspace, tracking_uri: str, patience: float = 0.0
) -> None:
    """Has the end of a run that did not come to its registration written into MLflow, and waits for it for a moment."""
    ended = {
        "run": run.run,
        "experiment": run.experiment,
        "status": "succeeded" if run.status == "succeeded" else "cancelled",
        "reason": run.reason,
        "link": str(workspace.runs / run.run),
        "seconds": seconds(run.steps),
        "target": "local",
    }
    process = _start("end", {"begun": _begun(run, experiment, tracking_uri), "ended": ended})
    if process is not None and patience:
        with suppress(subprocess.TimeoutExpired):  # the interrupt counts, also without its record
            process.wait(patience)


def _begun(run: Record, experiment: dict[str, Any], tracking_uri: str) -> dict[str, Any]:
    began = round(1000 * run.created.timestamp())
    return {"experiment": experiment, "run": run.run, "began": began, "tracking_uri": tracking_uri}


def _start(what: str, request: dict[str, Any]) -> "subprocess.Popen[bytes] | None":
    """Starts this module, which goes on when this process ends; None where it cannot be started."""
    with suppress(OSError):
        process = subprocess.Popen(
            child.command(__name__, what),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # signals to this process do not reach it
        )
        assert process.stdin is not None
        with process.stdin as told:
            told.write(json.dumps(request).encode())
        return process
    return None


def main(what: str) -> None:
    """Writes what standard input tells of. What is wrong with MLflow is said by the step that registers."""
    signal.alarm(LONGEST)
    os.nice(5 if what == "begin" else 0)  # the first step is what a person waits for
    from components import finish
    from components.surroundings.notify import RunEnd

    request = json.load(sys.stdin)
    with suppress(RequestError, WorkError):
        begun = request["begun"]
        finish.begin(**begun)  # an end may be faster than the beginning
        if what == "end":
            finish.finish(RunEnd(**request["ended"]), begun["experiment"], None, begun["tracking_uri"])


if __name__ == "__main__":
    main(sys.argv[1])
