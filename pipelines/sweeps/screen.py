"""How a local sweep shows itself: a header per step, and a line per trial, of which several may be at work at once.

KFP prints what its processes print in the thread that waits for each, so that a line's thread says whose line it is.
(Its log does not: contexts of several threads undo each other's settings of the one logger.)
"""

import builtins
import io
import logging
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, redirect_stdout
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from components.surroundings.masking import masked
from elboflow.settings.terminal import printable
from pipelines import messages
from pipelines.console import make_console
from pipelines.screen import Log, begins
from pipelines.targets import StepState
from pipelines.targets.local.process import Process

_PATIENCE = 5.0
"""Seconds between asking a process to end and ending it."""


@dataclass
class Task:
    """A step, or a trial, at work.

    Attributes:
        name: The step's name.
        trial: Whether it is a trial.
        process: Its process, once it has begun.
        log: Everything that it printed.
        errors: What it said of its failure.
    """

    name: str
    trial: bool = False
    process: Process | None = None
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
        key: The key of the steps' messages.
        folder: The run's folder, below which its other steps have theirs.
    """

    def __init__(
        self, trials: Path, count: int, moved: Callable[[Sequence[StepState]], None], key: str, folder: Path
    ) -> None:
        self.seconds: dict[str, float] = {}
        self.last: Task | None = None
        self._trials, self._count, self._ended = trials, count, 0
        self._tasks: dict[int, Task] = {}
        self._lock = threading.RLock()
        self._stage, self._since = "", 0.0
        self._moved, self._key, self._folder = moved, key, folder
        self._stages: list[StepState] = []
        self._stopping = False
        self._console = make_console(stderr=True)
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
            process.signal(signal.SIGTERM)
        deadline = time.monotonic() + _PATIENCE
        for process in processes:
            while process.alive() and time.monotonic() < deadline:
                time.sleep(0.05)
            process.signal(signal.SIGKILL)

    def _take(self, line: str) -> None:
        message = messages.read(line, self._key)
        with self._lock:
            task = self._tasks.get(threading.get_ident())
            if message is not None and message.kind == "begin":
                self._begin(message)
            elif message is not None and task is not None:
                self._show(task, message)
            elif task is not None:  # KFP prints what a step is given, such as addresses, before any of our code runs
                task.log.keep(masked(line))

    def _show(self, task: Task, message: messages.Message) -> None:
        text = printable(masked(message.text))
        task.log.keep(text)
        shown = text.replace("\n", "\n  ")
        if message.kind == "error":
            task.errors.append(text)
            self.last = task
        elif task.trial:
            self._ended += 1
            self._console.print(f"  [{self._ended}/{self._count}] {shown}")
        else:
            self._console.print(f"  {shown}")

    def _begin(self, message: messages.Message) -> None:
        output = message.text
        trial = bool(output) and Path(output).parent.parent == self._trials
        task = Task("train", trial=True) if trial else self._tasks.get(threading.get_ident(), Task("step"))
        if trial:
            self._begin_stage("trials")
        task.process = Process.beside(message.process)
        self._tasks[threading.get_ident()] = self.last = task
        if output:
            task.log.begin(output, self._folder, self._trials)
        if self._stopping and task.process is not None:
            task.process.signal(signal.SIGKILL)

    def _note(self, record: logging.LogRecord) -> bool:
        """Learns from KFP's own log which task runs, and keeps that log from being printed."""
        if (step := begins(record)) is not None:
            with self._lock:
                before = self._tasks.get(threading.get_ident())
                if before is not None:
                    before.log.close()
                self._tasks[threading.get_ident()] = self.last = Task(step)
                # Only a loop has threads of its own.
                in_loop = threading.current_thread() is not threading.main_thread()
                self._begin_stage("trials" if in_loop else step)
        return record.levelno >= logging.WARNING and record.name != "root"

    def _begin_stage(self, name: str) -> None:
        if name == self._stage:
            return
        self._end_stage()
        self._stage, self._since = name, time.monotonic()
        self._console.print(name, style="bold")
        self._stages.append(StepState(name, "running", started=datetime.now(UTC)))
        self._moved(self._stages)

    def _end_stage(self) -> None:
        if self._stage:
            self.seconds[self._stage] = round(time.monotonic() - self._since, 1)
            self._console.print(f"  {self.seconds[self._stage]} s", style="dim")
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
            # Each thread that prints adds an indentation to the one `print` that all share; a message stands behind it.
            self._pass_on(line.removeprefix("    "))
        return len(text)
