"""The processes that run ticks: one for each, leading a new session, so that it outlives the scheduler that started it.

A process holds a lock on a file of its tick's folder while it is at work, and so does the run that it starts. The
system gives the lock back when both are gone, however they ended: unlike a process id, it never means another process.
"""

import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Protocol

from pipelines.schedules.database import FOLDER
from pipelines.schedules.states import Key

LOG = "log.txt"
RESULT = "result.json"
LOCK = "at-work.lock"


class Launcher(Protocol):
    """Starts the processes of ticks, and sees whether they are there."""

    def start(self, key: Key) -> None:
        """Starts a process for a claimed tick. Of several for the same tick, one runs it."""

    def reap(self) -> set[Key]:
        """Returns the ticks whose processes were started here and have ended since the last call."""

    def at_work(self, key: Key) -> bool:
        """Returns whether there is a process for the tick, started by this scheduler or another."""


class Processes:
    """The launcher of a workspace.

    Args:
        workspace: The workspace's folder.
    """

    def __init__(self, workspace: Path) -> None:
        self._workspace = workspace
        self._children: dict[Key, subprocess.Popen[bytes]] = {}

    def start(self, key: Key) -> None:
        """Starts the tick's process (`pipelines/schedules/tick.py`)."""
        folder = tick_folder(self._workspace, key)
        folder.mkdir(parents=True, exist_ok=True)
        # -P: what lies in the folder that this runs in must not be taken for a module of ours.
        command = [sys.executable, "-P", "-m", "pipelines.schedules.tick"]
        with open(folder / LOG, "ab") as log:
            self._children[key] = subprocess.Popen(
                [*command, str(self._workspace), key.schedule, key.time.isoformat()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def reap(self) -> set[Key]:
        """Returns the ticks whose processes were started here and have ended since the last call."""
        ended = {key for key, child in self._children.items() if child.poll() is not None}
        for key in ended:
            del self._children[key]
        return ended

    def at_work(self, key: Key) -> bool:
        """Returns whether there is a process for the tick, started by this scheduler or another."""
        child = self._children.get(key)
        return (child is not None and child.poll() is None) or is_held(tick_folder(self._workspace, key) / LOCK)


def tick_folder(workspace: Path, key: Key) -> Path:
    """Returns the folder of a tick: its log, the experiment as it ran, and the run's result."""
    return workspace / FOLDER / key.schedule / key.folder


def hold(path: Path, patience: float = 1.0) -> int | None:
    """Locks a file for as long as this process, or one that inherits the descriptor, is there.

    Args:
        path: The file.
        patience: Seconds to try, because `is_held` holds it for a moment, too.

    Returns:
        The descriptor; None where another process holds the lock.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(descriptor)
                return None
            time.sleep(0.05)


def is_held(path: Path) -> bool:
    """Returns whether a process holds the lock of a file."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
