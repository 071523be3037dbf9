"""The record of a local run from its beginning to its end: in its folder, in MLflow, and for those who are notified."""

import json
import logging
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from components.surroundings.masking import masked, without_userinfo
from elboflow.artifacts import lock, write_atomically
from elboflow.settings import RequestError, WorkError, variables
from pipelines.experiment import Experiment
from pipelines.targets import StepState, seconds
from pipelines.targets.local import artifacts, in_mlflow
from pipelines.targets.local.process import ProcessIdentity
from pipelines.targets.local.record import EXPERIMENT, LOCK, Record
from pipelines.targets.local.runner import StepError
from pipelines.targets.local.surroundings import tracking_uri
from pipelines.workspace import Workspace

logger = logging.getLogger("elboflow.run")

SECONDS_TO_TELL = 10.0
"""Seconds that MLflow has to take how a run ended: a step may have waited for it already."""


@contextmanager
def recorded(
    name: str, experiment: Experiment, workspace: Workspace, planned: tuple[str, ...], begins: bool, announced: bool
) -> Iterator[Callable[[Sequence[StepState]], None]]:
    """Keeps the record of a run, up to its end, which is also told to MLflow and to whom it concerns.

    Args:
        name: The run's name.
        experiment: The experiment.
        workspace: Where the record goes.
        planned: The names of the run's steps, in their order.
        begins: Whether it has one run in MLflow; a step of a sweep makes its own.
        announced: Whether that run is made now (`resumption.Part`).

    Yields:
        What is to be called whenever a step has begun or ended, with all that have begun.
    """
    place = tracking_uri(experiment, workspace)
    record = Record(
        run=name,
        experiment=experiment.name,
        process=ProcessIdentity.current(),
        status="running",
        created=datetime.now(UTC),
        planned=planned,
        tracking_uri=None if place == workspace.tracking_uri else without_userinfo(place),
        directory=_working_directory(),
    )
    at_work: int | None = None

    def moved(steps: Sequence[StepState]) -> None:
        nonlocal record
        record = record.at(steps)
        record.write(workspace.runs)

    try:
        with workspace.beginning():
            at_work = _lock(record, experiment, workspace)
        if begins and announced:
            in_mlflow.begin(record, experiment.recorded(), place, experiment.date)
        yield moved
    except KeyboardInterrupt as interrupt:
        number = interrupt.args[0] if interrupt.args else signal.SIGINT
        record = record.over("cancelled", f"ended by {signal.Signals(number).name}")
        record.write(workspace.runs)
        if experiment.notify is not None:
            _finish(record, "cancelled", None, experiment, workspace)
        else:  # a person who interrupts is not kept waiting for MLflow
            in_mlflow.end(record, experiment.recorded(), workspace, place, in_mlflow.MOMENT)
        raise
    except BaseException as error:
        step, reason = (error.step, error.reason) if isinstance(error, StepError) else (None, str(error))
        record = record.over("failed", reason)
        record.write(workspace.runs)
        _finish(record, "failed", step, experiment, workspace)
        raise
    else:
        record = record.over("succeeded")
        if experiment.notify is not None:
            _finish(record, "succeeded", None, experiment, workspace)
        elif begins and "register" not in planned:  # which would have ended its run in MLflow
            in_mlflow.end(record, experiment.recorded(), workspace, place)
    finally:
        for step in planned:
            artifacts.remove(workspace.runs / name / step)
        record.write(workspace.runs)
        os.environ.pop(variables.AT_WORK, None)
        if at_work is not None:
            os.close(at_work)


def _working_directory() -> str | None:
    with suppress(OSError):  # it was removed
        return str(Path.cwd())
    return None


def _lock(record: Record, experiment: Experiment, workspace: Workspace) -> int | None:
    """Locks a file for as long as this process is there, names it to the steps, and writes the first record."""
    folder = workspace.runs / record.run
    with suppress(OSError):  # that the disk is full is for a step to say
        text = json.dumps(experiment.model_dump(mode="json"), indent=2) + "\n"
        write_atomically(folder / EXPERIMENT, masked(text))
    held = lock.hold(folder / LOCK)
    if held is not None:
        os.environ[variables.AT_WORK] = str(folder / LOCK)
    record.write(workspace.runs)
    return held


def _finish(
    record: Record,
    status: Literal["succeeded", "failed", "cancelled"],
    step: str | None,
    experiment: Experiment,
    workspace: Workspace,
) -> None:
    from components.finish import finish
    from components.surroundings import servers
    from components.surroundings.notify import RunEnd

    link, place = str(workspace.runs / record.run), tracking_uri(experiment, workspace)
    try:
        with servers.within(SECONDS_TO_TELL):
            took = seconds(record.steps)
            ending = RunEnd(record.run, experiment.name, status, step, record.reason, link, took, "local")
            finish(ending, experiment.recorded(), experiment.notify, place)
    except (RequestError, WorkError) as error:
        logger.warning("how the run ended is not in MLflow: %s", error)
