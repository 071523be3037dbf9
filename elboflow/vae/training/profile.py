"""A profile of some steps of a training, written by the profiler of the backend."""

import logging
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from elboflow.settings.text import counted
from elboflow.vae import compute
from elboflow.vae.compute.contract import Profile

logger = logging.getLogger("elboflow.training")

_OPENED_BY = {
    "tensorflow": "`pip install xprof`, then `xprof --port 8791 {folder}`",
    "jax": "`pip install xprof`, then `xprof --port 8791 {folder}`",
    "torch": "open {folder}/trace.json at https://ui.perfetto.dev",
}


class Profiler:
    """Starts the profile after the first compiled call, and ends it after exactly `profile.steps` steps.

    Args:
        profile: The settings of the profile; None for no profile.
        writes: Whether this process writes the profile. All processes make the same calls.
    """

    def __init__(self, profile: Profile | None, writes: bool = True) -> None:
        self._profile, self._writes = profile, writes
        self._left = profile.steps if profile else 0
        self._running = ExitStack()
        self._has_begun = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running.close()
        if self._profile and self._left and self._writes and error is None:
            done = self._profile.steps - self._left
            logger.warning(
                "the training ended after %d of the %s of its profile", done, counted(self._profile.steps, "step")
            )

    def limit(self, count: int) -> int:
        """Returns the number of steps that the next compiled call may make, at most `count`."""
        return min(count, self._left) if self._has_begun and self._left else count

    def after(self, count: int) -> None:
        """Counts a compiled call with `count` steps; call it after the measures have arrived."""
        if self._profile is None or not self._left:
            return
        if not self._has_begun:
            self._has_begun = True
            if self._writes:
                self._running.enter_context(compute.implementation().profiled(self._profile.folder))
            return
        self._left -= count
        if not self._left and self._writes:
            self._running.close()
            how = _OPENED_BY[compute.current()].format(folder=self._profile.folder)
            logger.info("wrote a profile of %s; to open it: %s", counted(self._profile.steps, "step"), how)
