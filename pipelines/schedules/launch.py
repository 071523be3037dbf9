"""The processes that run ticks: one for each, in a session of its own, so that it outlives the scheduler.

A tick's process locks a file in the tick's folder and passes the lock on to its run. The system releases the lock when
both are gone, however they ended. Unlike a process id, a lock never belongs to another process later.
"""

import subprocess
import sys
from pathlib import Path
from typing import Protocol

from elboflow.artifacts.lock import is_held
from pipelines.schedules.database import FOLDER
from pipelines.schedules.states import Key

LOG = "log.txt"
RESULT = "result.json"
LOCK = "at-work.lock"


class Launcher(Protocol):
    """Starts the processes of ticks, and knows which are alive."""

    def start(self, key: Key) -> None:
        """Starts a process for a claimed tick. Of several for the same tick, one runs it."""

    def reap(self) -> set[Key]:
        """Returns the ticks whose processes were started here and have ended since the last call."""

    def is_running(self, key: Key) -> bool:
        """Returns whether a process of the tick is alive, also one that another scheduler started."""


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
        # -P: a file of the working directory must not shadow a module.
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

    def is_running(self, key: Key) -> bool:
        """Returns whether a process of the tick is alive, also one that another scheduler started."""
        child = self._children.get(key)
        return (child is not None and child.poll() is None) or is_held(tick_folder(self._workspace, key) / LOCK)


def tick_folder(workspace: Path, key: Key) -> Path:
    """Returns the folder of a tick: its log, the experiment as it ran, and the run's result."""
    return workspace / FOLDER / key.schedule / key.folder
