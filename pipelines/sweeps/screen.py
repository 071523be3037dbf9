"""How a local sweep shows itself: a header per step, and a line per trial, of which several may be at work at once.

KFP prints what its processes print in the thread that waits for each, so that a line's thread says whose line it is.
(Its log does not: contexts of several threads undo each other's settings of the one logger.)
"""

import builtins
import io
import logging
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, redirect_stdout, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console

from components.masking import masked
from pipelines.process import BEGIN, ERROR, MARK
from pipelines.screen import LOG, Log
from pipelines.targets import StepState

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_EXECUTING = re.compile(r"Executing task '(.+)'")
_PATIENCE = 5.0
"""Seconds between asking a process to end and ending it."""


@dataclass
class Task:
    """A step, or a trial, at work.

    Attributes:
        name: The step's name.
        trial: Whether it is a trial.
        process: Its process id, once it has begun.
        log: Everything that it printed.
        errors: What it said of its failure.
    """

    name: str
    trial: bool = False
    process: int | None = None
    log: Log = field(default_factory=Log)
    errors: list[str] = field(default_factory=list)


class Screen:
    """Stands in for standard output while KFP runs a sweep.

    Attributes:
        seconds: Wall time of each finished step; `trials` is that of all trials.
        last: The step that began last; the one that failed, where one did.

    Args:
        trials: The folder of the trials.
        count: How many there are to be.
        moved: Called with the stages that have begun, whenever one begins or has succeeded.
    """

    def __init__(self, trials: Path, count: int, moved: Callable[[Sequence[StepState]], None]) -> None:
        self.seconds: dict[str, float] = {}
        self.last: Task | None = None
        self._trials, self._count, self._ended = trials, count, 0
        self._tasks: dict[int, Task] = {}
        self._lock = threading.RLock()
        self._stage, self._since = "", 0.0
        self._moved = moved
        self._stages: list[StepState] = []
        self._stopping = False
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._open = ExitStack()

    def __enter__(self) -> Self:
        root, handlers, level = logging.getLogger(), list(logging.getLogger().handlers), logging.getLogger().level
        root.addFilter(self._note)

        def restore(printing: Callable[..., None] = builtins.print) -> None:
            root.removeFilter(self._note)
            root.handlers[:] = handlers
            root.setLevel(level)
            builtins.print = printing

        self._open.callback(restore)
        self._open.enter_context(redirect_stdout(_Lines(self._take)))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        if error is None:
            self._end_stage()
        self._open.close()
        for task in self._tasks.values():
            task.log.close()

    def stop(self) -> None:
        """Ends the processes at work, and those that are about to begin, and waits until they have gone."""
        with self._lock:
            self._stopping = True
            processes = [task.process for task in self._tasks.values() if task.process is not None]
        for process in processes:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGTERM)
        deadline = time.monotonic() + _PATIENCE
        for process in processes:
            with suppress(ProcessLookupError):
                while time.monotonic() < deadline:
                    os.kill(process, 0)
                    time.sleep(0.05)
                os.kill(process, signal.SIGKILL)

    def _take(self, line: str) -> None:
        line = masked(line)  # KFP prints what a step is given, such as addresses, before any of our code runs
        with self._lock:
            task = self._tasks.get(threading.get_ident())
            if line.startswith(MARK + BEGIN):
                self._begin(*line.removeprefix(MARK + BEGIN).split(" ", 1))
            elif task is None:
                return
            elif not line.startswith(MARK):
                task.log.keep(line)
            else:
                self._show(task, line.removeprefix(MARK))

    def _show(self, task: Task, line: str) -> None:
        task.log.keep(line)
        if line.startswith(ERROR) or task.errors:
            task.errors.append(line.removeprefix(ERROR))
            self.last = task
        elif task.trial:
            self._ended += 1
            self._console.print(f"  [{self._ended}/{self._count}] {line}", markup=False)
        else:
            self._console.print(f"  {line}", markup=False)

    def _begin(self, process: str, output: str) -> None:
        folder = Path(output).parent if output else None
        trial = folder is not None and folder.parent == self._trials
        task = Task("train", trial=True) if trial else self._tasks.get(threading.get_ident(), Task("step"))
        if trial:
            self._begin_stage("trials")
        task.process = int(process)
        self._tasks[threading.get_ident()] = self.last = task
        if folder is not None:
            task.log.open(folder / LOG)
        if self._stopping:
            with suppress(ProcessLookupError):
                os.kill(task.process, signal.SIGKILL)

    def _note(self, record: logging.LogRecord) -> bool:
        """Learns from KFP's own log which task runs, and keeps that log from being printed."""
        if found := _EXECUTING.match(_COLOUR.sub("", record.getMessage())):
            with self._lock:
                before = self._tasks.get(threading.get_ident())
                if before is not None:
                    before.log.close()
                self._tasks[threading.get_ident()] = self.last = Task(found[1])
                # Only a loop has threads of its own.
                in_loop = threading.current_thread() is not threading.main_thread()
                self._begin_stage("trials" if in_loop else found[1])
        return record.levelno >= logging.WARNING and record.name != "root"

    def _begin_stage(self, name: str) -> None:
        if name == self._stage:
            return
        self._end_stage()
        self._stage, self._since = name, time.monotonic()
        self._console.print(f"[bold]{name}[/bold]")
        self._stages.append(StepState(name, "running", started=datetime.now(UTC)))
        self._moved(self._stages)

    def _end_stage(self) -> None:
        if self._stage:
            self.seconds[self._stage] = round(time.monotonic() - self._since, 1)
            self._console.print(f"  [dim]{self.seconds[self._stage]} s[/dim]")
            self._stages[-1] = replace(self._stages[-1], status="succeeded", ended=datetime.now(UTC))
            self._moved(self._stages)
        self._stage = ""


class _Lines(io.TextIOBase):
    """A file that passes on what each thread prints into it, line by line, without the indentation that KFP adds."""

    def __init__(self, take: Callable[[str], None]) -> None:
        self._pass_on = take
        self._rest: dict[int, str] = {}

    def write(self, text: str) -> int:
        thread = threading.get_ident()
        *lines, self._rest[thread] = (self._rest.get(thread, "") + text).split("\n")
        for line in lines:
            # Each thread that prints adds an indentation of its own to the one `print` that all share.
            marked = line.lstrip(" ")
            self._pass_on(marked if marked.startswith(MARK) else line.removeprefix("    "))
        return len(text)
