"""The progress display of a training: a live bar on a terminal, plain log lines elsewhere."""

import logging
import sys
import time
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

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
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("after"),
            TimeElapsedColumn(),
            TextColumn("left"),
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
        self._left = 0.0

    def __enter__(self) -> Self:
        self._started = self._last_line = time.monotonic()
        self._next_epoch = self._started
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
        self._left = (now - moment) * (self._total - done) / max(done - step, 1)
        if now >= self._last_line + max(_SILENCE, (now - self._started) / 20):
            share = 100 * done / self._total
            self._line(f"step {done:,} of {self._total:,} ({share:.0f} %)")

    def epoch(self, number: int, epochs: int, text: str) -> None:
        now = time.monotonic()
        if now >= self._next_epoch:
            self._next_epoch = now + max(2.0, (now - self._started) / 20)
            self._line(f"epoch {number}/{epochs}: {text}")

    def _line(self, text: str) -> None:
        self._last_line = now = time.monotonic()
        times = {"after {}": now - self._started, "at most {} left": self._left}  # early stopping may leave less
        told = [words.format(_duration(seconds)) for words, seconds in times.items() if seconds >= _WORTH_TELLING]
        logger.info("%s", "; ".join([text, *([", ".join(told)] if told else [])]))


_SILENCE = 30.0
_WORTH_TELLING = 10.0
"""Seconds from which on the time that a training has taken, and will take, is told."""


def _duration(seconds: float) -> str:
    """Returns a duration for a person: 45 s, 12 min, 3.5 h."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
