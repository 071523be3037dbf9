"""A run that was interrupted is KILLED in MLflow, too: written by a process of its own, which outlasts the run's.

Whoever interrupts waits for it no longer than a moment; MLflow alone takes that to be imported.
"""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress

from components import databases
from pipelines.experiment import Experiment
from pipelines.targets.local.record import Record
from pipelines.targets.local.surroundings import tracking_uri
from pipelines.workspace import Workspace

MOMENT = 2.0
"""Seconds that an interrupted run waits for the process."""

LONGEST = 60
"""Seconds that the process has: an MLflow that does not answer is given up."""


def record(run: Record, experiment: Experiment, workspace: Workspace) -> None:
    """Has the end of a run written into MLflow, unless that is a file which no run has made yet."""
    place = tracking_uri(experiment, workspace)
    database = databases.file_of(place)
    if database is not None and not database.is_file():
        return
    ending = {
        "experiment": experiment.recorded(),
        "run": run.run,
        "reason": run.reason,
        "link": str(workspace.runs / run.run),
        "tracking_uri": place,
    }
    with suppress(subprocess.TimeoutExpired, OSError):  # an interrupt stays one, whatever becomes of its record
        process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONSAFEPATH": "1"},
            start_new_session=True,  # what interrupts the run does not interrupt it
        )
        process.communicate(json.dumps(ending).encode(), timeout=MOMENT)


def main() -> None:
    """Writes the end that standard input tells of."""
    signal.alarm(LONGEST)
    from components.finish import finish

    finish(**json.load(sys.stdin), status="cancelled", step=None, notification=None)


if __name__ == "__main__":
    main()
