"""Splits the steps of a portion into compiled calls of about equal time."""

import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from elboflow.vae.compute.contract import Measures, Steps
from elboflow.vae.training.lockstep import all_reduce_max
from elboflow.vae.training.profile import Profiler

# A compiled call makes at most this number of steps, in about this time, so that signals and the display do not wait.
STEPS_PER_CALL = 1024
SECONDS_PER_CALL = 0.5


class Calls:
    """Splits steps into compiled calls of about `SECONDS_PER_CALL`, from the time of the last call.

    Args:
        steps: Runs the steps.
        batch: The number of examples in this process's part of a batch.
        most: The maximum number of steps of a call.
        profiler: Profiles some of the steps, if there is a profile.
    """

    def __init__(self, steps: Steps, batch: int, most: int, profiler: Profiler) -> None:
        self._steps, self._profiler = steps, profiler
        self._count = 1  # the first call compiles, so its time says nothing about the time of a step
        self._rows = np.zeros((min(most, STEPS_PER_CALL), batch), np.int32)

    def run(self, on_device: Any, rows: np.ndarray, first_step: int, factor: float) -> Iterator[Measures]:
        """Runs one step per row of `rows`, int32 `[steps, batch]`; yields the measures of each call."""
        done = 0
        while done < len(rows):
            count = self._profiler.limit(min(self._count, len(rows) - done, len(self._rows)))
            self._rows[:count] = rows[done : done + count]
            started = time.monotonic()
            measures = self._steps(on_device, self._rows, first_step + done, count, factor)
            self._profiler.after(count)
            # The slowest process decides, so that all processes make the same calls.
            (seconds,) = all_reduce_max(time.monotonic() - started)
            self._count = max(1, min(int(SECONDS_PER_CALL * count / seconds), 8 * self._count))
            done += count
            yield measures
