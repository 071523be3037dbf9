"""How a local run shows itself: one header per step, the step's own lines, and nothing of KFP's or the libraries'.

KFP prints what its processes print, and logs what it does itself, to standard output. `Screen` stands in both places.
Messages of a step (`pipelines.messages`) go to standard error; these and all lines go to the step's log file, for the
day when they are needed. Text of a step never moves the screen.
"""

import io
import logging
import re
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack, redirect_stdout, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from rich.status import Status
from rich.text import Text

from components.surroundings.masking import masked
from elboflow.settings.terminal import printable
from pipelines import messages
from pipelines.console import make_console
from pipelines.targets import StepState
from pipelines.targets.local.process import Process

LOG = "log.txt"
_EARLY_LINES = 20_000  # that a step may print before its log file is known
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_EXECUTING = re.compile(r"Executing task '([\w-]+)'")
_FINISHED = re.compile(r"Task '([\w-]+)' finished with status SUCCESS")


def begins(record: logging.LogRecord) -> str | None:
    """Returns the step that KFP's own log says has begun, if that is what a record says."""
    return _told(record, _EXECUTING)


def succeeded(record: logging.LogRecord) -> str | None:
    """Returns the step that KFP's own log says has succeeded, if that is what a record says."""
    return _told(record, _FINISHED)


def _told(record: logging.LogRecord, pattern: re.Pattern[str]) -> str | None:
    # KFP has one place that logs this, to the root logger. Messages of others, or with more in them, are only text.
    if record.name != "root" or record.module != "task_dispatcher":
        return None
    found = pattern.fullmatch(_COLOUR.sub("", record.getMessage()))
    return found[1] if found else None


class Screen:
    """Stands in for standard output while KFP runs a pipeline.

    Args:
        moved: Called with the states of the steps whenever one begins or ends.
        key: The key of the steps' messages.
        folder: The run's folder, below which its steps have theirs.

    Attributes:
        step: The step at work, or the one that failed.
        process: The process of that step, while it is at work.
        log: Everything that this step printed.
        errors: What that step said of its failure.
        seconds: Wall time of each finished step.
    """

    def __init__(self, moved: Callable[[Sequence[StepState]], None], key: str, folder: Path) -> None:
        self.step: str | None = None
        self.process: Process | None = None
        self.log = Log()
        self.errors: list[str] = []
        self.seconds: dict[str, float] = {}
        self._moved, self._key, self._folder = moved, key, folder
        self._steps: list[StepState] = []
        self._console = make_console(stderr=True)
        self._status: Status | None = None
        self._open = ExitStack()
        self._started = 0.0

    def __enter__(self) -> Self:
        logging.getLogger().addFilter(self._note)
        self._open.callback(logging.getLogger().removeFilter, self._note)
        if self._console.is_terminal:
            self._status = self._open.enter_context(self._console.status("starting"))
        self._open.enter_context(redirect_stdout(_Lines(self._take)))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        self._open.close()
        self.log.close()

    def _take(self, line: str) -> None:
        message = messages.read(line, self._key)
        if message is None:
            self.log.keep(masked(line))
        elif message.kind == "begin":
            self.process = Process.beside(message.process)  # none where the step is in a container
            self.log.begin(message.text, self._folder)
        else:
            text = printable(masked(message.text))
            self.log.keep(text)
            if message.kind == "error":
                self.errors.append(text)
            else:
                self._console.print("  " + text.replace("\n", "\n  "))

    def _note(self, record: logging.LogRecord) -> bool:
        """Learns from KFP's own log which task runs, and keeps that log from being printed."""
        if (step := begins(record)) is not None:
            self.step, self._started = step, time.monotonic()
            self.log, self.errors, self.process = Log(), [], None
            self._console.print(step, style="bold")
            self._steps.append(StepState(step, "running", started=datetime.now(UTC)))
            self._moved(self._steps)
            if self._status is not None:
                self._status.update(Text(step))
        elif (step := succeeded(record)) is not None and step == self.step:
            self.seconds[step] = round(time.monotonic() - self._started, 1)
            self._console.print(f"  {self.seconds[step]} s", style="dim")
            self.process = None
            self.log.close()
            self._steps[-1] = replace(self._steps[-1], status="succeeded", ended=datetime.now(UTC))
            self._moved(self._steps)
        return record.levelno >= logging.WARNING and record.name != "root"


class Log:
    """Everything that a step prints, in a file as soon as its folder is known.

    Attributes:
        path: The file; None until it is known.
        last: The last lines, which outlive a disk that was too full for the file.
    """

    def __init__(self) -> None:
        self.path: Path | None = None
        self.last: deque[str] = deque(maxlen=200)
        self._early: deque[str] = deque(maxlen=_EARLY_LINES)
        self._file: TextIO | None = None

    def begin(self, output: str, *roots: Path) -> None:
        """Opens the file beside a step's output, which lies below one of the folders; any other place is refused."""
        folder = Path(output).parent.resolve()
        if not any(folder.is_relative_to(root.resolve()) for root in roots):
            return
        self.path = path = folder / LOG
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("w", encoding="utf-8", errors="backslashreplace", buffering=1)
            self._file.writelines(f"{line}\n" for line in self._early)
            self._early.clear()

    def keep(self, line: str) -> None:
        self.last.append(line)
        if self.path is None:
            self._early.append(line)
        elif self._file is not None:
            try:
                self._file.write(f"{line}\n")  # not print, to which KFP adds its indentation for the time being
            except OSError:
                self.close()

    def close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):
                file.close()


class _Lines(io.TextIOBase):
    """A file that passes on what is printed into it, line by line, without the indentation that KFP adds."""

    def __init__(self, take: Callable[[str], None]) -> None:
        self._pass_on = take
        self._rest = ""

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._pass_on(line.removeprefix("    "))
        return len(text)
