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
    return _Bar(total_steps) if sys.stderr.isatty() else _Lines(total_steps)


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
    """Log lines at growing intervals, 1/20 of the elapsed time and at least two seconds, so that logs stay short.

    A line in the middle of an epoch comes only after `_SILENCE` seconds without one.
    """

    def __init__(self, total_steps: int) -> None:
        self._total = total_steps
        self._first: tuple[int, float] | None = (
            None  # the first step that was told, and when: a resumed one begins late
        )
        self._left = ""

    def __enter__(self) -> Self:
        self._started = self._last_line = time.monotonic()
        self._next_line = self._started
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def steps(self, done: int) -> None:
        now = time.monotonic()
        if self._first is None:
            self._first = done, now
            return
        step, moment = self._first
        seconds = (now - moment) * (self._total - done) / max(done - step, 1)
        self._left = f"; at most {_duration(seconds)} left" if seconds >= _WORTH_TELLING else ""
        if now >= max(self._next_line, self._last_line + _SILENCE):
            share = 100 * done / self._total
            self._line(f"step {done:,} of {self._total:,} ({share:.0f} %), after {_duration(now - self._started)}")

    def epoch(self, number: int, epochs: int, text: str) -> None:
        if time.monotonic() >= self._next_line:
            self._line(f"epoch {number}/{epochs}: {text}")

    def _line(self, text: str) -> None:
        self._last_line = now = time.monotonic()
        self._next_line = now + max(2.0, (now - self._started) / 20)
        logger.info("%s%s", text, self._left)


_SILENCE = 30.0
_WORTH_TELLING = 10.0
"""Seconds that are left, from which on they are told. Early stopping may leave fewer."""


def _duration(seconds: float) -> str:
    """Returns a duration for a person: 45 s, 12 min, 3.5 h."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
