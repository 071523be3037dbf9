"""Checkpoints of a training: a kill costs at most the time since the last checkpoint.

A background thread writes the checkpoints while the training continues. A full or unavailable disk does not end a
training: a failed write is retried at the next interval.
"""

import contextlib
import errno
import logging
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from elboflow.artifacts import lock
from elboflow.settings import RequestError, WorkError
from elboflow.settings.text import short_path
from elboflow.vae.config import Checkpoints
from elboflow.vae.training import stored
from elboflow.vae.training.fingerprint import differences
from elboflow.vae.training.state import State

logger = logging.getLogger("elboflow.training")

_FULL = (errno.ENOSPC, errno.EDQUOT)
LOCK = ".lock"
_REMEDY = "--restart starts over and moves the checkpoints aside"


class Keeper:
    """Writes and reads the checkpoints of one training.

    Args:
        folder: The folder of this training's checkpoints.
        fingerprint: The fingerprint of the training (`elboflow.vae.training.fingerprint`).
        settings: The interval and the number of checkpoints.
        restart: Whether to move existing checkpoints to another folder.
        chief: Whether this process writes. All processes of a distributed training read.
    """

    def __init__(
        self,
        folder: Path,
        fingerprint: dict[str, Any],
        settings: Checkpoints,
        restart: bool = False,
        chief: bool = True,
    ) -> None:
        self._folder, self._fingerprint, self._settings = folder, fingerprint, settings
        self._restart, self._chief = restart, chief
        self._locks = ExitStack()
        self._step, self._time = 0, time.monotonic()  # of the last state that was kept or read
        self._written: Path | None = None
        self._changed = threading.Condition()
        self._waiting: stored.Contents | None = None  # the next state to write
        self._unwritten: stored.Contents | None = None  # a state whose write failed
        self._busy = self._closing = False
        self._defect: Exception | None = None
        self._thread = threading.Thread(target=self._write_loop, name="checkpoints", daemon=True)

    def __enter__(self) -> Self:
        """Opens the folder.

        Raises:
            WorkError: Another training uses the folder, or the folder cannot be written to.
        """
        if self._chief:
            try:
                self._open()
            except OSError as error:
                self._locks.close()
                if error.errno not in _FULL:
                    raise WorkError(f"checkpoints cannot be kept in {self._folder}: {error}") from None
                logger.warning("no space is left for checkpoints in %s; training starts without any", self._folder)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._chief:
                self._close()
        finally:
            self._locks.close()

    def latest(self) -> State | None:
        """Returns the state of the newest undamaged checkpoint, or None without checkpoints.

        Raises:
            RequestError: The checkpoint belongs to a training with other settings or data.
            WorkError: All checkpoints are damaged.
        """
        damaged: dict[Path, str] = {}
        for path in stored.found(self._folder):
            try:
                found, state = stored.read(path)
            except stored.DamagedError as error:
                damaged[path] = str(error)
                continue
            if differing := differences(found, self._fingerprint):
                raise RequestError(
                    f"{self._folder} holds checkpoints of another training, and going on from them would give neither: "
                    f"{'; '.join(differing)}. {_REMEDY}"
                )
            for other, damage in damaged.items():
                logger.warning("the checkpoint %s cannot be used: %s; going on from %s", other, damage, path.name)
            self._step, self._time, self._written = state.step, time.monotonic(), path
            return state
        if damaged:
            told = "; ".join(f"{path.name}: {damage}" for path, damage in damaged.items())
            raise WorkError(f"no checkpoint in {self._folder} can be used ({told}). {_REMEDY}")
        return None

    def due(self, step: int) -> bool:
        """Whether a checkpoint is due after this many steps."""
        steps, minutes = self._settings.every_steps, self._settings.every_minutes
        return step > self._step and (
            (steps is not None and step // steps > self._step // steps)
            or (minutes is not None and time.monotonic() - self._time >= 60 * minutes)
        )

    def keep(self, state: State) -> None:
        """Queues a state for the writing thread, and returns at once. A queued state that waits is replaced."""
        self._step, self._time = state.step, time.monotonic()
        if not self._chief:
            return
        facts = {"identity": self._fingerprint, **state.facts()}
        with self._changed:
            self._raise_defect()
            self._waiting, self._unwritten = stored.Contents(state.step, facts, state.arrays()), None
            self._changed.notify_all()

    def flush(self) -> None:
        """Waits until the last queued state has been written, or its write has failed."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting is None and not self._busy)
            self._raise_defect()

    def kept(self) -> str:
        """Returns a phrase about the last checkpoint, for messages about the end of a training."""
        if self._chief:
            self.flush()
        if self._written is None:
            return "no checkpoint was written before"
        return f"its last checkpoint is {short_path(self._written)}"

    def _open(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._lock()
        stored.clean(self._folder)
        if not (self._restart and stored.found(self._folder)):
            return
        aside = stored.set_aside(self._folder)
        self._locks.close()
        logger.info("starting over; the checkpoints so far are in %s", aside)
        (aside / LOCK).unlink(missing_ok=True)
        self._folder.mkdir()
        self._lock()

    def _lock(self) -> None:
        try:
            self._locks.enter_context(lock.exclusive(self._folder / LOCK))
        except BlockingIOError:
            raise WorkError(
                f"another training is at work in {self._folder}, and two would overwrite each other's checkpoints; "
                "wait for it, or give this one another output folder"
            ) from None

    def _close(self) -> None:
        with self._changed:
            if self._unwritten is not None:  # a last retry
                self._waiting, self._unwritten = self._unwritten, None
            self._closing = True
            self._changed.notify_all()
        self._thread.join()
        self._raise_defect()

    def _write_loop(self) -> None:
        failed = False
        while True:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._waiting is not None or self._closing)
                if (contents := self._waiting) is None:
                    return
                self._waiting, self._busy = None, True
            if self._written is not None and stored.step(self._written) == contents.step:
                continue  # this checkpoint exists already, and must not be rewritten before there is another one
            try:
                self._written = stored.write(self._folder, contents)
            except OSError as error:
                if not failed:
                    logger.warning(
                        "could not write the checkpoint of step %d to %s (%s); training goes on, and tries again at "
                        "the next one",
                        contents.step,
                        self._folder,
                        error,
                    )
                failed = True
                with self._changed:
                    self._unwritten = contents if self._waiting is None else None
                continue
            except Exception as error:  # `_raise_defect` raises it in the training's thread
                self._defect = error
                continue
            if failed:
                logger.info("checkpoints are written again: %s", self._written)
            failed = False
            self._prune(self._written)

    def _prune(self, newest: Path) -> None:
        """Removes old checkpoints, and damaged checkpoints of later steps, which the training has repeated since."""
        there = stored.found(self._folder)
        older = [path for path in there if stored.step(path) <= stored.step(newest)]
        for path in set(there) - set(older[: self._settings.keep]):
            with contextlib.suppress(OSError):  # retried after the next checkpoint
                stored.discard(path)

    def _raise_defect(self) -> None:
        if self._defect is not None:
            defect, self._defect = self._defect, None
            raise defect


def remove(folder: Path) -> None:
    """Removes the checkpoints of a finished training, and their folder if it is then empty."""
    with contextlib.suppress(OSError):  # the model is complete; remaining files do no harm
        for path in stored.all_of(folder):
            stored.discard(path)
        folder.rmdir()
