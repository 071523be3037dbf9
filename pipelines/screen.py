"""How a local run shows itself: one header per step, the step's own lines, and nothing of KFP's or the libraries'.

KFP prints what its processes print, and logs what it does itself, to standard output. `Screen` stands in both places.
Marked lines of a step go to standard error; all of them go to the step's log file, for the day when they are needed.
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

from rich.console import Console
from rich.status import Status

from components.masking import masked
from pipelines.process import BEGIN, ERROR, MARK
from pipelines.targets import StepState

LOG = "log.txt"
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_EXECUTING = re.compile(r"Executing task '(.+)'")
_FINISHED = re.compile(r"Task '(.+)' finished with status")


class Screen:
    """Stands in for standard output while KFP runs a pipeline.

    Args:
        moved: Called with the states of the steps whenever one begins or ends.

    Attributes:
        step: The step at work, or the one that failed.
        process: The process id of that step, while it is at work.
        log: Everything that this step printed.
        errors: What that step said of its failure.
        seconds: Wall time of each finished step.
    """

    def __init__(self, moved: Callable[[Sequence[StepState]], None]) -> None:
        self.step: str | None = None
        self.process: int | None = None
        self.log = Log()
        self.errors: list[str] = []
        self.seconds: dict[str, float] = {}
        self._moved = moved
        self._steps: list[StepState] = []
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
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
        line = masked(line)
        if not line.startswith(MARK):
            self.log.keep(line)
            return
        line = line.removeprefix(MARK)
        if line.startswith(BEGIN):
            _, process, output = line.split(" ", 2)
            self._begin(int(process), Path(output).parent)
            return
        self.log.keep(line)
        if line.startswith(ERROR) or self.errors:
            self.errors.append(line.removeprefix(ERROR))
        else:
            self._console.print(f"  {line}", markup=False)

    def _begin(self, process: int, folder: Path) -> None:
        self.process = process
        self.log.open(folder / LOG)

    def _note(self, record: logging.LogRecord) -> bool:
        """Learns from KFP's own log which task runs, and keeps that log from being printed."""
        message = _COLOUR.sub("", record.getMessage())
        if found := _EXECUTING.match(message):
            self.step, self._started = found[1], time.monotonic()
            self.log, self.errors, self.process = Log(), [], None
            self._console.print(f"[bold]{self.step}[/bold]")
            self._steps.append(StepState(self.step, "running", started=datetime.now(UTC)))
            self._moved(self._steps)
            if self._status is not None:
                self._status.update(self.step)
        elif _FINISHED.match(message) and "SUCCESS" in message and self.step is not None:
            self.seconds[self.step] = round(time.monotonic() - self._started, 1)
            self._console.print(f"  [dim]{self.seconds[self.step]} s[/dim]")
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
        self._file: TextIO | None = None

    def open(self, path: Path) -> None:
        self.path = path
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("w", encoding="utf-8", buffering=1)
            self._file.writelines(f"{line}\n" for line in self.last)

    def keep(self, line: str) -> None:
        self.last.append(line)
        if self._file is not None:
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
