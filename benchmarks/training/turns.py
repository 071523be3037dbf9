"""What a side of a race does: it works in turns, of which another process says when and reads how long they took.

A side is a program. At its start it makes a `Turns`; whenever it has finished a turn it calls `done`, which reports the
turn and returns when the next one may begin. Its first turn, in which everything compiles, begins by itself.

This file imports only the standard library: pythae's side runs in an environment of its own.
"""

import json
import os
import sys
import time


class Turns:
    """The turns of this process, told through its standard output and its standard input."""

    def __init__(self) -> None:
        self._reports = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)  # what a library prints is no report
        self._started = time.perf_counter()

    def done(self, examples: int, **facts: str) -> None:
        """Reports a turn in which the side learned from `examples`; returns when the next turn begins.

        Args:
            examples: Examples of this turn; with its seconds they make the side's speed.
            facts: What else the reader should know of this side, such as the name of its device.

        Raises:
            SystemExit: There is no next turn.
        """
        seconds = time.perf_counter() - self._started
        print(json.dumps({"examples": examples, "seconds": seconds, "facts": facts}), file=self._reports, flush=True)
        if not sys.stdin.readline():
            self._reports.flush()
            os._exit(0)  # nothing of a side is worth an orderly end, and a framework's takes its time
        self._started = time.perf_counter()
