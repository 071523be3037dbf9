"""Jobs on remote engines: submit a graph, wait for its end, and cancel it if this process ends earlier."""

import contextlib
import logging
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam.runners.runner import PipelineState

from elboflow.settings import RequestError, WorkError

LOG = logging.getLogger("elboflow.preprocessing")
GRACE = 20  # seconds for cancelling a job; a pod is killed 30 s after its SIGTERM
COMMON = ["--no_pipeline_type_check"]


@dataclass(frozen=True)
class Job:
    """A job to submit.

    Attributes:
        place: The engine, for messages.
        runner: Beam's runner.
        options: Beam's options; None leaves an option out.
        name: The prefix of the job's name.
        flags: Options without values.
        page: Beam's result → the web page of the submitted job, for the log.
    """

    place: str
    runner: "beam.runners.PipelineRunner"
    options: Mapping[str, str | int | None]
    name: str
    flags: tuple[str, ...] = ()
    page: Callable[[Any], str] | None = None


def run(job: Job, add_graph: Callable[[beam.Pipeline], None]) -> None:
    """Runs a graph to its end.

    Raises:
        RequestError: Beam rejects the options.
        WorkError: The job failed.
    """
    name = f"{job.name}-{uuid.uuid4().hex[:8]}"
    options = {"job_name": name, **job.options}
    arguments = [f"--{option}={value}" for option, value in options.items() if value is not None]
    try:
        pipeline = beam.Pipeline(runner=job.runner, argv=[*COMMON, *arguments, *job.flags])
    except ValueError as error:  # Beam's validation of its options
        raise RequestError(f"runner: {_last_line(error)}") from None
    add_graph(pipeline)
    try:
        result = pipeline.run()
        try:
            LOG.info("submitted the job %s to %s", name, job.page(result) if job.page else job.place)
            result.wait_until_finish()
        except BaseException:  # also a SIGTERM: a cancelled step, or a preempted machine
            _cancel(result, name, job.place)
            raise
    except Exception as error:
        raise WorkError(f"the job {name} failed ({job.place}): {_last_line(error)}") from error


def _cancel(result: Any, job: str, place: str) -> None:
    """Cancels a job that has not ended, because a retry of this process would start another one."""
    went_wrong: list[Exception] = []

    def cancel() -> None:
        with contextlib.suppress(Exception):  # without an answer about the state, cancel all the same
            if PipelineState.is_terminal(result.state):
                return
        LOG.info("cancelling the job %s", job)
        try:
            result.cancel()
        except Exception as error:
            went_wrong.append(error)

    cancelling = threading.Thread(target=cancel, daemon=True)
    cancelling.start()
    cancelling.join(GRACE)
    if cancelling.is_alive() or went_wrong:
        why = _last_line(went_wrong[0]) if went_wrong else f"no answer within {GRACE} s"
        LOG.warning("could not cancel the job %s, which may go on; cancel it by hand (%s): %s", job, place, why)


def _last_line(error: Exception) -> str:
    """Returns the last line of an engine's error; the lines before it are tracebacks of its workers."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip() not in ("", "None")]
    return lines[-1] if lines else type(error).__name__
