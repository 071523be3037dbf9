"""The state of a tick whose run has ended, from the run's exit code and its last output."""

import json
import os
import signal
from pathlib import Path
from typing import Any

from pipelines.schedules.launch import LOG, RESULT
from pipelines.schedules.states import State

_SIGNALS = {128 + number: signal.Signals(number).name for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)}
_READ = 2**20  # bytes of a run's output
_LONGEST = 4000  # characters of a reason


def tick_outcome(folder: Path, exit_code: int | None) -> tuple[State, str | None]:
    """Returns the state of a tick whose run has ended, and the reason.

    Args:
        folder: The tick's folder.
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
        return "its processes ended without a word, as when they are killed, memory runs out or the machine stops"
    try:
        log = _end(folder / LOG)
    except OSError:
        log = ""
    error = log.rpartition("\nerror: ")[2] if "\nerror: " in log else log.partition("error: ")[2]
    return error.strip()[:_LONGEST] or f"it ended with exit code {exit_code}; its output is in {folder / LOG}"
