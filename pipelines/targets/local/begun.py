"""A run is in MLflow from its start: written by a process apart, while the first step is at work."""

import json
import os
import signal
import sys
from contextlib import suppress

from elboflow.settings import RequestError, WorkError
from pipelines.experiment import Experiment
from pipelines.targets.local import apart
from pipelines.targets.local.record import Record


def record(run: Record, experiment: Experiment, tracking_uri: str) -> None:
    """Has the MLflow run of a run made."""
    began = round(1000 * run.created.timestamp())
    request = {"experiment": experiment.recorded(), "run": run.run, "began": began, "tracking_uri": tracking_uri}
    apart.start(__name__, request)


def main() -> None:
    """Makes the run that standard input tells of."""
    signal.alarm(apart.LONGEST)
    os.nice(5)  # the first step is what a person waits for
    from components.finish import begin

    # What is wrong with MLflow is said by the step that registers.
    with suppress(RequestError, WorkError):
        begin(**json.load(sys.stdin))


if __name__ == "__main__":
    main()
