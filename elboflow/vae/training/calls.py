"""Cuts the steps of a portion into compiled calls of about equal time."""

import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from elboflow.vae.compute.contract import Measures, Steps
from elboflow.vae.training.lockstep import agreed
from elboflow.vae.training.profile import Profiler

# A compiled call takes up to this many steps, and about this long, so that signals and the display never wait.
STEPS_PER_CALL = 1024
SECONDS_PER_CALL = 0.5


class Calls:
    """Splits steps into compiled calls that take about `SECONDS_PER_CALL`, as measured so far.

    Args:
        steps: Runs the steps.
        batch: Examples of a step, of this process's part.
        most: The most steps that a portion may have.
        profiler: Profiles some of them, if it is to.
    """

    def __init__(self, steps: Steps, batch: int, most: int, profiler: Profiler) -> None:
        self._steps, self._profiler = steps, profiler
        self._count = 1  # the first call compiles: how long a step takes shows from the second on
        self._rows = np.zeros((min(most, STEPS_PER_CALL), batch), np.int32)

    def run(self, on_device: Any, rows: np.ndarray, first_step: int, factor: float) -> Iterator[Measures]:
        """Runs one step per row of `rows` `[steps, batch]`; yields each call's measures."""
        done = 0
        while done < len(rows):
            count = self._profiler.limit(min(self._count, len(rows) - done, len(self._rows)))
            self._rows[:count] = rows[done : done + count]
            started = time.monotonic()
            measures = self._steps(on_device, self._rows, first_step + done, count, factor)
            self._profiler.after(count)
            # Of processes that train together, the slowest decides.
            (seconds,) = agreed(time.monotonic() - started)
            self._count = max(1, min(int(SECONDS_PER_CALL * count / seconds), 8 * self._count))
            done += count
            yield measures
