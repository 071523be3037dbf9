"""How the run of a tick ended, from its exit code and from what it said last."""

import json
import signal
from pathlib import Path
from typing import Any

from pipelines.schedules.launch import LOG, RESULT
from pipelines.schedules.states import State

_STOPPED = {128 + number: signal.Signals(number).name for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)}


def ending(folder: Path, exit_code: int | None) -> tuple[State, str | None]:
    """Returns what became of a tick whose run has ended, and why.

    Args:
        folder: The tick's folder.
        exit_code: The run's; None where nobody was there to see it.
    """
    result = _result(folder)
    reason = result.get("reason")
    if exit_code in _STOPPED:
        return "cancelled", f"ended by {_STOPPED[exit_code]}"
    if exit_code in (0, None) and result.get("status") == "skipped":
        return "skipped", reason
    if exit_code == 0 or (exit_code is None and result.get("status") == "succeeded"):
        return "succeeded", None
    if reason is not None:
        return "failed", f"{result['step']}: {reason}" if result.get("step") else reason
    return "failed", _last_words(folder, exit_code)


def _result(folder: Path) -> dict[str, Any]:
    """Returns the JSON object that ends a run's standard output."""
    try:
        read = json.loads((folder / RESULT).read_text(encoding="utf-8").splitlines()[-1])
    except (OSError, ValueError, IndexError):
        return {}
    return read if isinstance(read, dict) else {}


def _last_words(folder: Path, exit_code: int | None) -> str:
    try:
        log = (folder / LOG).read_text(errors="replace")
    except OSError:
        log = ""
    error = log.rpartition("\nerror: ")[2] if "\nerror: " in log else log.partition("error: ")[2]
    if error.strip() and exit_code is not None:
        return error.strip()
    if exit_code is None:
        return "its processes ended without a word, as when they are killed, memory runs out or the machine stops"
    return f"it ended with exit code {exit_code}; what it printed is in {folder / LOG}"
