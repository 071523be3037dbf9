"""The number of steps of the next compiled call."""

from elboflow.vae.training.lockstep import all_reduce_max
from elboflow.vae.training.profile import Profiler

# A compiled call makes at most this number of steps, in about this time, so that signals and the display do not wait.
STEPS_PER_CALL = 1024
SECONDS_PER_CALL = 0.5


class Pace:
    """Lets a compiled call take about `SECONDS_PER_CALL`, from the time of the last call.

    Args:
        most: The maximum number of steps of a call.
        profiler: Profiles some of the steps, if there is a profile.
    """

    def __init__(self, most: int, profiler: Profiler) -> None:
        self.most = min(most, STEPS_PER_CALL)
        self._profiler = profiler
        self._count = 1  # the first call compiles, so its time says nothing about the time of a step

    def next(self, left: int) -> int:
        """Returns the number of steps of the next call, of `left` that can be made."""
        return self._profiler.limit(min(self._count, left, self.most))

    def after(self, count: int, seconds: float) -> None:
        """Counts a call with `count` steps; call it after the measures have arrived."""
        self._profiler.after(count)
        (slowest,) = all_reduce_max(seconds)  # so that all processes make the same calls
        self._count = max(1, min(int(SECONDS_PER_CALL * count / slowest), 8 * self._count))
