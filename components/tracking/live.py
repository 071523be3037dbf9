"""A training's curves and pictures in MLflow while it runs; the curves by MLflow's asynchronous `log_batch`.

A thread imports MLflow while the framework compiles, and finds or creates the run. From then on each epoch goes into
MLflow's queue, which sends a batch every `SECONDS_BETWEEN_BATCHES`. MLflow cannot fail the training: a batch that it
does not take is dropped, and the registration completes the curves from the model folder. A picture that it does not
take is lost.
"""

import logging
import os
import re
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from components.surroundings import servers
from components.surroundings.masking import masked
from components.tracking import curves as recorded_curves
from components.tracking import handover, liveness, platform_runs, runs, store, tags, timeouts
from components.tracking.giving_way import GivingWay
from components.tracking.pictures import Pictures
from elboflow.artifacts import lock
from elboflow.settings import RequestError, WorkError
from elboflow.vae.folder import load
from elboflow.vae.watch import Group

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

logger = logging.getLogger("elboflow.training")

FLUSH_SECONDS = 2.0
"""The longest that a training which has ended waits until MLflow has all its curves."""

SECONDS_BETWEEN_BATCHES = 3
LONGEST_PAUSE = 60.0
"""The longest pause between two attempts to reach an MLflow that is away when the training begins."""

_MOST_WAITING = 100_000  # points that are kept while MLflow is away: the newest
_CAUSE = re.compile(r"""Caused by \w+\(["'](?:.*: )?(.+?)["']\)""")
_QUEUE = "mlflow.utils.async_logging.async_logging_queue"

_State = Literal["FINISHED", "FAILED", "KILLED"]
_Point = tuple[str, float, int, int]
"""Name, value, time in milliseconds since 1970, epoch."""


@dataclass(frozen=True)
class Tracking:
    """The MLflow that shows a training's curves while it runs.

    Attributes:
        uri: `sqlite:///PATH` or the URL of an MLflow server.
        experiment: Name of the MLflow experiment.
        run: Name of the pipeline run, where it is known. On a platform the run is found by the path of the model
            folder (`runs.at_work_on`). A training outside a pipeline run has a separate MLflow run, which the
            registration of its model takes over (`handover`).
    """

    uri: str
    experiment: str
    run: str | None = None


@contextmanager
def curves(
    tracking: Tracking | None, saved: Path, output: Path, identity: str, *, anew: bool = False
) -> "Iterator[tuple[LiveRun, ...]]":
    """Sends a training's curves to MLflow for the duration.

    Args:
        tracking: Where to; None for nowhere.
        saved: The folder of the training's checkpoints, which is not the model folder itself: a training that resumes
            from them continues its MLflow run.
        output: The model folder.
        identity: The digest of all that the training is a function of.
        anew: Whether the training starts over, and ignores the checkpoints in its folder.

    Yields:
        The observers that the training is to have: one, or none.
    """
    if tracking is None:
        yield ()
        return
    store.set_up()
    with timeouts.asking_once(MLFLOW_ASYNC_LOGGING_BUFFERING_SECONDS=str(SECONDS_BETWEEN_BATCHES)):
        sent = LiveRun(tracking, saved, output, handover.key(identity, saved), anew)
        try:
            yield (sent,)
        except Exception:
            sent.end("FAILED")
            raise
        except BaseException:
            sent.end("KILLED")
            raise
        sent.end("FINISHED")


class LiveRun:
    """An observer whose points go into MLflow's queue, or wait until there is one; and a place for pictures."""

    def __init__(self, tracking: Tracking, saved: Path, output: Path, key: str, anew: bool) -> None:
        self._tracking, self._output, self._key, self._anew = tracking, output, key, anew
        self._lock_file = saved / "at-work.lock"
        self._began = _milliseconds()
        self._waiting: deque[_Point] = deque(maxlen=_MOST_WAITING)
        self._pictures = Pictures()
        self._lock = threading.Lock()
        self._run: tuple[MlflowClient, str] | None = None
        self._known: Mapping[str, frozenset[int]] = {}
        self._is_own = self._warned = False
        self._held: int | None = None
        self._over = threading.Event()
        self._opening = threading.Thread(target=self._open, name="opens the MLflow run", daemon=True)
        self._opening.start()

    def __call__(self, group: Group, epoch: int, step: int, values: Mapping[str, float]) -> None:
        now = _milliseconds()
        points = [(f"{group}/{name}", float(value), now, epoch) for name, value in values.items()]
        with self._lock:
            if self._run is None:
                self._waiting.extend(points)
            else:
                self._send(points)

    def show(self, key: str, epoch: int, picture: np.ndarray) -> None:
        """Sends a picture, uint8 `[height, width, 3]`, to the run; never blocks."""
        self._pictures.add(key, epoch, picture)

    def end(self, state: _State) -> None:
        """Waits until MLflow has all points, within limits."""
        self._over.set()
        if self._is_pointless():
            return
        closing = threading.Thread(target=self._close, args=(state,), name="ends the MLflow run", daemon=True)
        closing.start()
        closing.join(FLUSH_SECONDS)
        if closing.is_alive() or self._run is None:
            servers.abandon(self._tracking.uri)  # the interpreter would wait at its end for MLflow's threads
        if closing.is_alive() and (self._run is not None or self._warned):
            logger.warning(
                "MLflow did not take all curves within %.0f s of the training's end; registering the model completes "
                "them",
                FLUSH_SECONDS,
            )
        logging.getLogger(_QUEUE).removeFilter(self._failed)
        if self._held is not None:
            self._lock_file.unlink(missing_ok=True)
            os.close(self._held)
            with suppress(OSError):  # where there are checkpoints
                self._lock_file.parent.rmdir()

    def _open(self) -> None:
        """The thread: imports MLflow, finds or creates the run, and sends what has waited for it."""
        pause = 1.0
        while not self._is_pointless():
            try:
                with GivingWay():
                    client = store.connect(self._tracking.uri)
                if self._is_pointless():
                    return
                with store.explained(self._tracking.uri):
                    run, self._known = self._found_or_created(client)
            except RequestError as error:
                self._warn(f"the curves are not in MLflow while training runs: {error}")
                return
            except WorkError as error:
                self._warn_of_absence(servers.reason(error.__cause__ or error))
                if self._over.wait(pause):
                    return
                pause = min(2 * pause, LONGEST_PAUSE)
            else:
                logging.getLogger(_QUEUE).addFilter(self._failed)
                with self._lock:
                    self._run = client, run.info.run_id
                    self._send(list(self._waiting))
                    self._waiting.clear()
                self._pictures.send_to(client, run.info.run_id, self._not_taken)
                return

    def _is_pointless(self) -> bool:
        """Returns whether the training is over and measured nothing, as one that was refused."""
        return self._over.is_set() and self._run is None and not self._waiting

    def _found_or_created(self, client: "MlflowClient") -> "tuple[Run, dict[str, frozenset[int]]]":
        """Returns the run, and the epochs that it has of each curve: those of a training that was killed."""
        uri, name, run = self._tracking.uri, self._tracking.experiment, self._tracking.run
        experiment_id = store.experiment_id(client, uri, name)
        with store.creating_runs(uri):
            if run is not None:
                found = runs.find(client, experiment_id, run)
            else:
                found = runs.at_work_on(client, experiment_id, self._output)
            if found is None and run is None:
                self._is_own = True
                with suppress(OSError):
                    self._lock_file.parent.mkdir(parents=True, exist_ok=True)
                self._held = lock.hold(self._lock_file)
                found = None if self._anew else handover.of_training(client, experiment_id, self._key)
            if found is None:
                return self._created(client, experiment_id), {}
        if found.info.status == "FINISHED":
            raise RequestError(f"the MLflow run {found.info.run_id} is finished")
        if run is not None or self._is_own:  # of a platform's run, the pipeline's first and last step write the status
            client.update_run(found.info.run_id, status="RUNNING")
        return found, {name: steps for name, (steps, _) in recorded_curves.steps_of(client, found).items()}

    def _created(self, client: "MlflowClient", experiment_id: str) -> "Run":
        uri, name, run = self._tracking.uri, self._tracking.experiment, self._tracking.run
        at_work = liveness.tag(uri, None if self._held is None else self._lock_file)
        own = {handover.TRAINING: self._key} if run is None else {tags.RUN: run}
        given = {**tags.source(), tags.EXPERIMENT: name, **own, **at_work, **platform_runs.links(client, uri)}
        return client.create_run(experiment_id, start_time=self._began, run_name=run or f"{name} training", tags=given)

    def _send(self, points: list[_Point]) -> None:
        """Puts points into MLflow's queue."""
        from mlflow.entities import Metric

        assert self._run is not None
        client, run_id = self._run
        lacking = [Metric(*point) for point in points if point[3] not in self._known.get(point[0], ())]
        try:
            client.log_batch(run_id, metrics=lacking, synchronous=False)
        except Exception as error:  # of any kind: the training goes on
            self._not_taken(error)

    def _not_taken(self, error: Exception) -> None:
        self._warn_of_absence(servers.reason(error))

    def _close(self, state: _State) -> None:
        self._opening.join()
        if self._run is None:
            return
        import mlflow

        client, run_id = self._run
        with suppress(Exception):  # the warning of what it did not take has been given
            mlflow.flush_async_logging()
            if self._is_own and client.get_run(run_id).info.status == "RUNNING":
                client.set_terminated(run_id, state)
            if self._is_own and state == "FINISHED":
                client.set_tag(run_id, tags.WEIGHTS, load(self._output).weights)
            self._pictures.finish()

    def _failed(self, record: logging.LogRecord) -> bool:
        """The filter of what MLflow logs of batches that it could not send: a single warning instead."""
        message = record.getMessage().partition("Exception: ")[2].partition("\n")[0]
        cause = _CAUSE.search(message)  # there is no exception, of which `servers.reason` would tell it
        self._warn_of_absence(cause[1] if cause else message)
        return False

    def _warn_of_absence(self, reason: str) -> None:
        self._warn(f"the MLflow at {self._tracking.uri} does not take the training's curves now: {reason}")

    def _warn(self, message: str) -> None:
        if not self._warned:
            self._warned = True
            logger.warning("%s; registering the model completes them", masked(message))


def _milliseconds() -> int:
    return round(1000 * time.time())
