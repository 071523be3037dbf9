"""The processes that run ticks: one for each, in a session of its own, so that it outlives the scheduler.

A tick's process locks a file in the tick's folder and passes the lock on to its run. The system releases the lock when
both are gone, however they ended. Unlike a process id, a lock never belongs to another process later.
"""

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any, Protocol

from elboflow.artifacts import child
from elboflow.artifacts.lock import is_held
from pipelines.schedules.database import FOLDER
from pipelines.schedules.states import Key, Schedule, State, absent

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

    def look_at_data(self, schedule: Schedule) -> None:
        """Starts a process that looks at the data of a schedule, unless one does."""


class Processes:
    """The launcher of a workspace."""

    def __init__(self, workspace: Path) -> None:
        self._workspace = workspace
        self._children: dict[Key, subprocess.Popen[bytes]] = {}
        self._looking: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, key: Key) -> None:
        """Starts the tick's process (`pipelines/schedules/tick.py`)."""
        folder = tick_folder(self._workspace, key)
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / LOG, "ab") as log:
            self._children[key] = subprocess.Popen(
                child.command("pipelines.schedules.tick", str(self._workspace), key.schedule, key.time.isoformat()),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def look_at_data(self, schedule: Schedule) -> None:
        """Starts a process that looks at the data (`pipelines/schedules/poll.py`), unless one does."""
        before = self._looking.get(schedule.id)
        if absent(schedule) is None and (before is None or before.poll() is not None):
            self._looking[schedule.id] = subprocess.Popen(
                child.command("pipelines.schedules.poll", str(self._workspace), schedule.id),
                cwd=schedule.folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
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


_SIGNALS = {128 + number: signal.Signals(number).name for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)}
_READ = 2**20  # bytes of a run's output
_LONGEST = 4000  # characters of a reason


def tick_outcome(folder: Path, exit_code: int | None) -> tuple[State, str | None]:
    """Returns the state of a tick whose run has ended, and the reason.

    Args:
        exit_code: The run's; None where no process was left to see it.
    """
    result = _result(folder)
    reason, step = _text(result, "reason"), _text(result, "step")
    if exit_code in _SIGNALS:
        return "cancelled", f"ended by {_SIGNALS[exit_code]}"
    if exit_code in (0, None) and result.get("status") == "skipped":
        return "skipped", reason
    if exit_code == 0 or (exit_code is None and result.get("status") == "succeeded"):
        return "succeeded", None
    if reason is not None:
        return "failed", f"{step}: {reason}" if step else reason
    return "failed", _error(folder, exit_code)


def _result(folder: Path) -> dict[str, Any]:
    """Returns the JSON object that ends a run's standard output."""
    try:
        read = json.loads(_end(folder / RESULT).splitlines()[-1])
    except (OSError, ValueError, IndexError, RecursionError):
        return {}
    return read if isinstance(read, dict) else {}


def _text(result: dict[str, Any], key: str) -> str | None:
    value = result.get(key)
    return value[:_LONGEST] if isinstance(value, str) else None


def _end(file: Path) -> str:
    """Returns the end of a file, which may have any size."""
    with open(file, "rb") as opened:
        opened.seek(max(0, opened.seek(0, os.SEEK_END) - _READ))
        return opened.read().decode(errors="replace")


def _error(folder: Path, exit_code: int | None) -> str:
    if exit_code is None:
        return "its processes ended without a result, as when they are killed, memory runs out or the machine stops"
    try:
        log = _end(folder / LOG)
    except OSError:
        log = ""
    error = log.rpartition("\nerror: ")[2] if "\nerror: " in log else log.partition("error: ")[2]
    return error.strip()[:_LONGEST] or f"it ended with exit code {exit_code}; its output is in {folder / LOG}"
