"""Child processes that run a module of this Python: their command, their end, and what their exit code means.

A child that must not outlive its parent is started with `environment()`, is ended by `ended` with the block that uses
it, and calls `end_with_parent` for the case that the parent is killed.
"""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from elboflow.settings.variables import PARENT

Popen = subprocess.Popen[Any]


def command(module: str, *words: str) -> list[str]:
    """Returns the command that runs a module in a new process of this Python.

    The working directory is not on its module path: a user's folder `components` must not shadow the package.
    """
    return [sys.executable, "-P", "-m", module, *words]


def environment(**variables: str) -> dict[str, str]:
    """Returns the environment of this process and further variables, for a child that calls `end_with_parent`.

    Other children must not get it: their own children would take this process for their parent.
    """
    return {**os.environ, PARENT: str(os.getpid()), **variables}


def waited(process: Popen) -> int:
    """Waits for a process to end and returns its exit code. Handlers of signals run within half a second.

    A signal that arrives after Python has looked for one and before its system call does not interrupt that call: in
    `Popen.wait` its handler would run only when the process has ended.
    """
    while (code := process.poll()) is None:
        time.sleep(0.5)
    return int(code)


@contextmanager
def ended(process: Popen, patience: float) -> Iterator[None]:
    """Ends a process with the block: at once if the block fails, or else if the process does not end by itself.

    Args:
        process: The process. Its pipes are closed.
        patience: Seconds that it has to end by itself, and seconds between SIGTERM and SIGKILL.
    """
    with process:
        try:
            yield
            if not _ends(process, patience):
                logging.getLogger("elboflow").warning("process %d does not end; it is ended", process.pid)
        finally:
            _end(process, patience, process.send_signal)


def end_group(process: Popen, patience: float) -> None:
    """Ends a process and the process group that it leads: by SIGTERM, and after `patience` seconds by SIGKILL."""
    _end(process, patience, partial(os.killpg, process.pid))


def _end(process: Popen, patience: float, send: Callable[[int], None]) -> None:
    try:
        with suppress(ProcessLookupError):
            send(signal.SIGTERM)
        _ends(process, patience)
    finally:
        with suppress(ProcessLookupError):
            send(signal.SIGKILL)
        process.wait()


def _ends(process: Popen, patience: float) -> bool:
    if process.stdin is not None:
        with suppress(BrokenPipeError):
            process.stdin.close()  # a process that waits for more input goes on
    with suppress(subprocess.TimeoutExpired):
        process.wait(patience)
    return process.returncode is not None


def death(code: int) -> str:
    """Returns what an exit code means, for a person; a shell's and a container's 128 + n means signal n, too."""
    number = -code if code < 0 else code - 128
    if number == signal.SIGKILL:
        return "its process was killed, as when memory runs out"
    names = {known.value: known.name for known in signal.Signals}
    how = f"by {names[number]}" if number in names else f"with exit code {code}"
    return f"its process ended {how} without a result"


def reason(said: str, code: int) -> str:
    """Returns why a process failed: the last line that it printed, or what its exit code means.

    The latter if it printed none, and if a signal killed it: its last line then is about something else.
    """
    if code < 0 or code == 128 + signal.SIGKILL:
        return death(code)
    return said.strip().rpartition("\n")[2] or death(code)


def end_with_parent(patience: float = 0.0) -> None:
    """Ends this process when its parent ends, however that ends. No effect without the parent's `environment()`.

    Half-done work is safe to leave at any moment, because artifacts commit last.

    Args:
        patience: Seconds between a SIGTERM, upon which a training saves its state, and the end; 0 for no SIGTERM.
    """
    parent = os.environ.pop(PARENT, None)  # children of this process have another parent
    if parent is not None:
        threading.Thread(target=_end_with, args=(int(parent), patience), daemon=True).start()


def _end_with(parent: int, patience: float) -> None:
    while os.getppid() == parent:
        time.sleep(0.25)
    if patience:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(patience)
    os._exit(128 + signal.SIGTERM)
