"""Trials that MLflow records, from their beginning to their outcome."""

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from components.sweep import trial
from components.sweep.history import Sweep
from components.sweep.trial import Candidate, Outcome
from elboflow.settings import WorkError
from elboflow.vae import folder
from elboflow.vae.watch import Watch

logger = logging.getLogger("elboflow.sweep")


def attempt(
    dataset: Path | str,
    candidate: Candidate,
    output: Path,
    tracked: Sweep,
    watch: Watch | None = None,
    waits: Iterable[float] = (),
) -> Outcome:
    """Tries a candidate (`trial.attempt`) and records the trial in MLflow, from its beginning."""
    tracked.begin(candidate)
    outcome = trial.attempt(dataset, candidate, output, tracked.run, watch, waits)
    _end(outcome, output, tracked)
    return outcome


def attempt_again(
    dataset: Path | str, candidate: Candidate, output: Path, connect: Callable[[], Sweep], waits: Iterable[float]
) -> Outcome:
    """Tries a candidate as `attempt` does, and again after a failure that may pass.

    Such are a training whose process died, an MLflow that does not answer, and files that cannot be read or written.

    Args:
        dataset: The dataset folder.
        candidate: What to train.
        output: The trial's folder.
        connect: Returns the sweep's runs in MLflow.
        waits: Seconds before each further try.

    Raises:
        RequestError: The request is wrong; no further try would change that.
        WorkError, OSError: The last try failed.
    """
    left = iter(waits)
    while True:
        try:
            return attempt(dataset, candidate, output, connect(), waits=left)
        except (WorkError, OSError) as error:
            wait = next(left, None)
            if wait is None:
                raise
            logger.warning("%s: %s; the next try is in %g s", candidate, error, wait)
        time.sleep(wait)


def take_over(candidate: Candidate, output: Path, tracked: Sweep) -> Outcome:
    """Makes an outcome of an earlier run one of this run, as it is.

    Raises:
        WorkError: There is none in the folder, or it is damaged.
    """
    found = trial.read(output)
    if found.run != tracked.run:
        found = replace(found, run=tracked.run)
        tracked.begin(candidate)
        _end(found, output, tracked)
        trial.write(output, found)
    return found


def _end(outcome: Outcome, output: Path, tracked: Sweep) -> None:
    curves = folder.load(output / trial.MODEL).curves if outcome.status == "finished" else None
    tracked.end(outcome, curves)
