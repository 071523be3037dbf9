"""What a training tells the process that sends its curves: a queue that a thread fills from standard input.

The training never waits for MLflow. While MLflow does not answer, the queue keeps the newest points.
"""

import json
import os
import threading
from collections import deque
from contextlib import suppress
from typing import TextIO

from components.tracking.limits import METRICS_PER_CALL

MOST_POINTS = 100_000
"""Points that the queue holds: some 30 MB."""

SECONDS_BETWEEN_CALLS = 1.0
SECONDS_AFTER_THE_END = 60.0
"""The longest that the process outlasts a training; one that succeeded ends it sooner."""


class Inbox:
    """A queue of points, which a thread fills from lines of JSON."""

    def __init__(self, lines: TextIO) -> None:
        self._points: deque[tuple[str, float, int, int]] = deque(maxlen=MOST_POINTS)
        self._changed = threading.Condition()
        self._lines = lines
        self.ended = False
        self.end: str | None = "KILLED"
        threading.Thread(target=self._read, daemon=True).start()

    def take(self) -> list[tuple[str, float, int, int]]:
        """Waits for points (name, value, time, epoch) and returns as many as a call may hold; none at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._points or self.ended)
            count = min(len(self._points), METRICS_PER_CALL)
            return [self._points.popleft() for _ in range(count)]

    def pause(self, seconds: float) -> None:
        """Waits, at most until the training ends or a full batch has come."""
        with self._changed:
            had_ended = self.ended
            self._changed.wait_for(
                lambda: self.ended != had_ended or len(self._points) >= METRICS_PER_CALL,
                min(seconds, SECONDS_BETWEEN_CALLS) if had_ended else seconds,
            )

    def _read(self) -> None:
        with suppress(ValueError):  # a kill of the training cut a line
            for line in self._lines:
                said = json.loads(line)
                with self._changed:
                    if "end" in said:
                        self.end = said["end"]
                    else:
                        points = [(name, value, said["time"], said["epoch"]) for name, value in said["values"].items()]
                        self._points.extend(points)
                    self._changed.notify()
        last = threading.Timer(SECONDS_AFTER_THE_END, os._exit, [1])
        last.daemon = True
        last.start()
        with self._changed:
            self.ended = True
            self._changed.notify()
