"""The progress display of a training: a live bar on a terminal, plain log lines elsewhere."""

import logging
import sys
import time
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

logger = logging.getLogger("elboflow.training")


class Display(Protocol):
    """A progress display."""

    def steps(self, done: int) -> None:
        """Shows that `done` steps of the training are done."""

    def epoch(self, number: int, epochs: int, text: str) -> None:
        """Shows the end of an epoch, with its numbers as `text`."""


def display(total_steps: int) -> AbstractContextManager[Display]:
    """Returns a bar if standard error is a terminal, otherwise log lines."""
    return _Bar(total_steps) if sys.stderr.isatty() else _Lines()


class _Bar:
    def __init__(self, total_steps: int) -> None:
        columns = (
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.description}"),
        )
        self._progress = Progress(*columns, console=Console(stderr=True))
        self._task = self._progress.add_task("", total=total_steps)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def steps(self, done: int) -> None:
        self._progress.update(self._task, completed=done)

    def epoch(self, number: int, epochs: int, text: str) -> None:
        self._progress.update(self._task, description=f"epoch {number}/{epochs} · {text}")


class _Lines:
    """Log lines at growing intervals, 1/20 of the elapsed time and at least two seconds, so that logs stay short."""

    def __enter__(self) -> Self:
        self._started = self._next_line = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def steps(self, done: int) -> None:
        pass

    def epoch(self, number: int, epochs: int, text: str) -> None:
        if time.monotonic() >= self._next_line:
            now = time.monotonic()
            self._next_line = now + max(2.0, (now - self._started) / 20)
            logger.info("epoch %d/%d: %s", number, epochs, text)
