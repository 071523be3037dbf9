"""A training's curves in MLflow while it runs, sent by a child process (`live_process`).

MLflow cannot delay or break the training: measurements go into a queue, and a thread writes them to the child process.
Points that could not be sent are in the model folder's curves, from which the registration completes those in MLflow.
"""

import json
import logging
import os
import queue
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from components.tracking import live_run
from elboflow.artifacts import lock
from elboflow.vae.watch import Group, Observer

logger = logging.getLogger("elboflow.training")

FLUSH_SECONDS = 10.0
"""The longest that a training which has ended waits until all is sent."""

SECONDS_TO_BEGIN = 10.0
"""How long a training must last to be shown, where its registration follows: importing MLflow costs 3 s of a core."""

_LONGEST_SENDING = 90.0  # longer than a process still sends for a training that was killed
_FAREWELL_SECONDS = 2.0  # and one that failed or was killed; its last points are sent without it
_MOST_WAITING = 10_000  # epochs that the process has not taken: it does not keep up, or hangs

_State = Literal["FINISHED", "FAILED", "KILLED"]


@dataclass(frozen=True)
class Tracking:
    """The MLflow that shows a training's curves while it runs.

    Attributes:
        uri: `sqlite:///PATH` or the URL of an MLflow server.
        experiment: Name of the MLflow experiment.
        run: Name of the pipeline run, where it is known: its MLflow run is then this one's. Otherwise the training has
            an MLflow run of its own, which the registration of its model takes over.
    """

    uri: str
    experiment: str
    run: str | None = None


@contextmanager
def curves(
    tracking: Tracking | None, saved: Path, output: Path, identity: str, *, anew: bool = False
) -> Iterator[tuple[Observer, ...]]:
    """Shows curves in MLflow between its beginning and its end; the MLflow run is made at the first point.

    Args:
        tracking: Where; None for nowhere.
        saved: The folder of the training's checkpoints, which is not the model folder itself: a training that goes on
            from them goes on in the same MLflow run.
        output: The model folder.
        identity: The digest of all that the training is a function of.
        anew: Whether the training starts over, and ignores the checkpoints in its folder.

    Yields:
        The observers that the training is to have: one, or none.
    """
    if tracking is None:
        yield ()
        return
    found = None if anew else live_run.note(saved)
    if found is None or found.finished or found.identity != identity:
        found = live_run.Note(uuid.uuid4().hex, identity)
    shown = _Curves(tracking, found, saved, output)
    try:
        yield (shown,)
    except Exception:
        shown.end("FAILED")
        raise
    except BaseException:
        shown.end("KILLED")
        raise
    shown.finish()


class _Curves:
    """An observer that passes measurements to a child process, which it starts at the first one."""

    def __init__(self, tracking: Tracking, note: live_run.Note, saved: Path, output: Path) -> None:
        self._tracking, self._note, self._saved, self._output = tracking, note, saved, output
        self._began = _milliseconds()
        self._queue: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._process: subprocess.Popen[str] | None = None
        self._thread: threading.Thread | None = None
        self._over = threading.Event()
        self._connected = self._lost = False
        self._held: int | None = None

    def __call__(self, group: Group, epoch: int, step: int, values: Mapping[str, float]) -> None:
        if self._lost or self._queue.qsize() > _MOST_WAITING:
            return
        told = {f"{group}/{name}": float(value) for name, value in values.items()}
        self._queue.put({"epoch": epoch, "time": _milliseconds(), "values": told})
        if self._thread is None:
            self._thread = threading.Thread(target=self._deliver, name="curves to MLflow", daemon=True)
            self._thread.start()

    def end(self, state: _State) -> None:
        """Sends the final state of the training; the child process may outlast this one to deliver it."""
        if self._thread is not None:
            self._queue.put({"end": state})
            self._queue.put(None)
            self._over.set()
            self._ended(time.monotonic() + _FAREWELL_SECONDS)
            self._release()

    def _release(self) -> None:
        """Closes this process's lock; the child process holds its own until it has sent all."""
        held, self._held = self._held, None
        if held is not None:
            os.close(held)

    def finish(self) -> None:
        """Waits until all is sent, within limits, and leaves the note for the registration."""
        if self._thread is not None:
            self._finish()
        elif live_run.note(self._saved) != self._note:  # nothing was shown, neither now nor before it was killed
            return
        self._release()
        try:
            replace(self._note, finished=True).write(self._output)
            for left in (live_run.FILE, live_run.LOCK):
                (self._saved / left).unlink(missing_ok=True)
            with suppress(OSError):  # what else is there is not ours
                self._saved.rmdir()
        except OSError as error:
            logger.warning("the model's registration will not find its curves in MLflow: %s", error)

    def _finish(self) -> None:
        # The pipeline run goes on; a training that does not know of one may be all there is.
        self._queue.put({"end": None if self._tracking.run else "FINISHED"})
        self._queue.put(None)
        self._over.set()
        # A training that ended before MLflow was even imported waits for nothing: its registration sends all at once.
        patience = FLUSH_SECONDS if self._connected or not self._tracking.run else 0.0
        if self._ended(time.monotonic() + patience):
            return
        if self._process is not None:
            self._process.kill()  # from here on, only the registration writes curves
            self._process.wait()
        if patience:
            logger.warning(
                "MLflow did not take all curves within %.0f s of the training's end; registering the model completes "
                "them",
                patience,
            )

    def _ended(self, deadline: float) -> bool:
        """Waits until the child process has taken all and ended; returns whether it has."""
        assert self._thread is not None
        self._thread.join(max(1.0, deadline - time.monotonic()))  # it may be about to start the process
        if self._thread.is_alive():
            return False
        try:
            if self._process is not None:
                self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            return False
        return True

    def _deliver(self) -> None:
        """The thread: starts the child process and writes it lines of JSON; a full pipe blocks only this thread."""
        if self._tracking.run and self._over.wait(SECONDS_TO_BEGIN):
            return
        try:
            self._note.write(self._saved)
            self._held = lock.hold(self._saved / live_run.LOCK, _LONGEST_SENDING)
            self._process = process = self._started()
            assert process.stdin is not None
            threading.Thread(target=self._listen, args=(process,), daemon=True).start()
            with process.stdin as told:
                request = {
                    **asdict(self._tracking),
                    "training": self._note.training,
                    "lock": str((self._saved / live_run.FILE).absolute()),
                    "at_work": None if self._held is None else str((self._saved / live_run.LOCK).absolute()),
                    "output": str(self._output.absolute()),
                    "began": self._began,
                }
                told.write(json.dumps(request) + "\n")
                told.flush()
                while (message := self._queue.get()) is not None:
                    told.write(json.dumps(message) + "\n")
                    if self._queue.empty():
                        told.flush()
        except OSError as error:
            if self._process is None:
                logger.warning("the curves are not shown in MLflow while training runs: %s", error)
            self._lost = True  # a process that gave up has said why

    def _started(self) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "components.tracking.live_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
            env={**os.environ, "PYTHONSAFEPATH": "1"},
            pass_fds=() if self._held is None else (self._held,),  # it is at work until its last points are sent
            process_group=0,  # what interrupts the training does not interrupt the sending of its last points
        )

    def _listen(self, process: "subprocess.Popen[str]") -> None:
        """The second thread: logs the messages of the child process."""
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                said = json.loads(line)
                if "connected" in said:
                    self._connected = True
                else:
                    logger.log(logging.getLevelNamesMapping()[said["level"]], "%s", said["message"])


def _milliseconds() -> int:
    return round(1000 * time.time())
