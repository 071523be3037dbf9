"""The child process that sends a training's curves to MLflow, in batches, at most about one a second.

It reads lines of JSON from its standard input: first the request (`live`), then points, then how the training ended.
It writes lines of JSON, each a message for the training's log. It retries an unreachable MLflow at growing intervals
and keeps the newest points. It ends some seconds after the training in any case, and marks the run of a training that
was killed as KILLED.
"""

import fcntl
import json
import os
import random
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from components.surroundings.masking import masked
from components.tracking import curves, databases, live_run, liveness, runs, store, tags, timeouts
from components.tracking.live_inbox import SECONDS_BETWEEN_CALLS, Inbox
from elboflow.settings import RequestError, WorkError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

T = TypeVar("T")

LONGEST_PAUSE = 60.0
SECONDS_TO_WARNING = 15.0

_answers = 1
"""The file descriptor of the messages, which nothing else is printed to."""

# MLflow's own client tries again, too, and waits as long as the server's Retry-After wants; by default, for minutes,
# and for each answer as long. What a person set is theirs.
_RETRIES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
_LIMITS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    _RETRIES: "3",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
}
# Errors that the same request will meet again: the run was deleted, or is no longer what it was.
_FINAL = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "INVALID_STATE")


class _OverError(Exception):
    """There is nothing more to do, for a reason that a person may want to know."""


class Sender:
    """Writes the points of an inbox into the MLflow run of a training.

    Args:
        request: The first line: MLflow, experiment, run, and the training's key.
        inbox: The lines after it.
    """

    def __init__(self, request: dict[str, Any], inbox: Inbox) -> None:
        self._request, self._inbox = request, inbox
        self._uri = request["uri"]
        self._away = False

    def run(self) -> None:
        """Sends all, up to the end of the training."""
        from mlflow.entities import Metric

        with _asking_once():  # a run that was made, unknown to us because the answer got lost, is looked for first
            client, run, known = self._lasting(self._opened)
        run_id = run.info.run_id
        _say(connected=True)
        while taken := self._inbox.take():
            metrics = [Metric(*point) for point in taken if point[3] not in known.get(point[0], ())]
            if metrics:
                self._lasting(partial(client.log_batch, run_id, metrics=metrics))
            if not self._inbox.ended:
                self._inbox.pause(SECONDS_BETWEEN_CALLS)
        if self._inbox.end is not None:
            self._lasting(partial(_terminate, client, run_id, self._inbox.end))

    def _opened(self) -> "tuple[MlflowClient, Run, dict[str, frozenset[int]]]":
        """Returns the training's run, and the epochs that it has of each curve."""
        client = store.connect(self._uri)
        with store.explained(self._uri):
            name, run, training = (self._request[key] for key in ("experiment", "run", "training"))
            experiment_id = store.experiment_id(client, self._uri, name)
            with store.creating_runs(self._uri):
                found = runs.find(client, experiment_id, run) if run else None
                found = found or live_run.of_training(client, experiment_id, training)
                if found is None:
                    return client, self._made(client, experiment_id), {}
            if found.info.status == "FINISHED":
                raise _OverError(f"the MLflow run {found.info.run_id} is finished")
            client.update_run(found.info.run_id, status="RUNNING")
            return client, found, {name: steps for name, (steps, _) in curves.steps_of(client, found).items()}

    def _made(self, client: "MlflowClient", experiment_id: str) -> "Run":
        name, run, training, output = (self._request[key] for key in ("experiment", "run", "training", "output"))
        held = self._request.get("at_work")
        given = {
            tags.EXPERIMENT: name,
            live_run.OUTPUT: output,
            live_run.TRAINING: training,
            **({tags.RUN: run} if run else {}),
            **liveness.tag(self._uri, None if held is None else Path(held)),
        }
        return client.create_run(
            experiment_id,
            start_time=self._request["began"],
            run_name=run or f"{name} training",
            tags={**tags.source(), **given},
        )

    def _lasting(self, call: Callable[[], T]) -> T:
        """Calls until MLflow answers, and returns the result."""
        from mlflow import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        pause = SECONDS_BETWEEN_CALLS
        while True:
            try:
                with self._warning_when_slow():
                    result = call()
            except (WorkError, MlflowException, SQLAlchemyError, OSError) as error:
                if _is_final(error):
                    raise _OverError(str(error)) from error
                self._warn(str(error.__cause__ or error).partition("\n")[0])
            else:
                self._answered()
                return result
            self._inbox.pause(pause * random.uniform(0.75, 1.25))  # not in step with other trainings
            pause = min(2 * pause, LONGEST_PAUSE)

    @contextmanager
    def _warning_when_slow(self) -> Iterator[None]:
        if databases.file_of(self._uri):  # what is slow there is this machine
            yield
            return
        slow = threading.Timer(SECONDS_TO_WARNING, self._warn, ["it does not answer"])
        slow.daemon = True
        slow.start()
        try:
            yield
        finally:
            slow.cancel()

    def _warn(self, reason: str) -> None:
        if not self._away:
            self._away = True
            _say(
                level="WARNING",
                message=f"the MLflow at {self._uri} does not take the training's curves now, and will get them when "
                f"it does: {reason}",
            )

    def _answered(self) -> None:
        if self._away:
            self._away = False
            _say(level="INFO", message=f"the MLflow at {self._uri} takes the training's curves again")


@contextmanager
def _asking_once() -> Iterator[None]:
    """Switches off the retries of MLflow's own client for the duration."""
    before = os.environ[_RETRIES]
    os.environ[_RETRIES] = "0"
    try:
        yield
    finally:
        os.environ[_RETRIES] = before


def _is_final(error: Exception) -> bool:
    causes = (error, error.__cause__)
    return isinstance(error, RequestError) or any(getattr(cause, "error_code", None) in _FINAL for cause in causes)


def _terminate(client: "MlflowClient", run_id: str, state: str | None) -> None:
    if client.get_run(run_id).info.status == "RUNNING":  # another process may have ended the run before
        client.set_terminated(run_id, state)


def _say(**what: Any) -> None:
    if "message" in what:
        what["message"] = masked(what["message"])
    with suppress(OSError):  # the training has gone
        os.write(_answers, json.dumps(what).encode() + b"\n")


def main() -> None:
    """Sends all, and exits without the interpreter's clean-up, a second for which the training would wait."""
    global _answers
    _answers = os.dup(1)
    os.dup2(2, 1)  # what a library prints is no message
    os.nice(5)  # the training first; with 10, importing MLflow takes minutes on a busy machine
    timeouts.set_defaults(_LIMITS)
    request = json.loads(sys.stdin.readline())
    inbox = Inbox(sys.stdin)
    with open(request["lock"], encoding="utf-8") as lock:
        # The process of a training that was killed may still be sending what this one would then take for lacking.
        with suppress(OSError):  # some network file systems have no locks
            fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            Sender(request, inbox).run()
        except (RequestError, _OverError) as error:
            _say(level="WARNING", message=f"the curves are not shown in MLflow while training runs: {error}")
    os._exit(0)


if __name__ == "__main__":
    main()
