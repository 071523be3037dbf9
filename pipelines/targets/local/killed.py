"""A run that was interrupted, or found dead, is KILLED in MLflow: written by a process apart.

An interrupted command waits for it no longer than a moment.
"""

import json
import signal
import subprocess
import sys
from contextlib import suppress
from typing import Any

from pipelines.targets import seconds
from pipelines.targets.local import apart
from pipelines.targets.local.record import Record
from pipelines.workspace import Workspace

MOMENT = 2.0
"""Seconds that an interrupted run waits for the process."""


def record(run: Record, experiment: dict[str, Any], workspace: Workspace, tracking_uri: str) -> None:
    """Has the end of a run that was interrupted written into MLflow, and waits for it for a moment."""
    process = begin(run, experiment, workspace, tracking_uri)
    if process is not None:
        with suppress(subprocess.TimeoutExpired):  # the interrupt counts, also without its record
            process.wait(MOMENT)


def begin(
    run: Record, experiment: dict[str, Any], workspace: Workspace, tracking_uri: str
) -> "subprocess.Popen[bytes] | None":
    """Begins to have the end of a run written into MLflow."""
    told = {
        "ending": {
            "run": run.run,
            "reason": run.reason,
            "link": str(workspace.runs / run.run),
            "seconds": seconds(run.steps),
        },
        "experiment": experiment,
        "tracking_uri": tracking_uri,
    }
    return apart.start(__name__, told)


def main() -> None:
    """Writes the end that standard input tells of."""
    signal.alarm(apart.LONGEST)
    from components.finish import finish
    from components.surroundings.notify import RunEnd

    told = json.load(sys.stdin)
    ending = RunEnd(**told["ending"], experiment=told["experiment"]["name"], status="cancelled", target="local")
    finish(ending, told["experiment"], None, told["tracking_uri"])


if __name__ == "__main__":
    main()
