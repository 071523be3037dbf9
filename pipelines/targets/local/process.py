"""A process by its id and the moment it started, so that another that got the same id is not taken for it."""

import os
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_SECONDS_BETWEEN_SIGNALS = 5.0


@dataclass(frozen=True)
class ProcessIdentity:
    """A process of this machine.

    Attributes:
        started: When it started, as the system writes it.
    """

    id: int
    started: str

    @classmethod
    def current(cls) -> "ProcessIdentity":
        """Returns the process that asks."""
        return cls(os.getpid(), _started(os.getpid()) or "")

    def alive(self) -> bool:
        """Returns whether it is still at work."""
        return _started(self.id) == self.started

    def signal(self, number: signal.Signals) -> None:
        """Sends it a signal; without effect where it is gone."""
        if self.alive():
            with suppress(ProcessLookupError):
                os.kill(self.id, number)

    def end(self, patience: float) -> bool:
        """Asks it to end by SIGTERM, and returns whether it has done so within some seconds."""
        now = time.monotonic()
        deadline, again = now + patience, now
        while self.alive():
            now = time.monotonic()
            if now > deadline:
                return False
            if now >= again:  # the one before may be lost: in a destructor, or in a library that catches everything
                self.signal(signal.SIGTERM)
                again = now + _SECONDS_BETWEEN_SIGNALS
            time.sleep(0.05)
        return True


def _started(process: int) -> str | None:
    """Returns when a process started; None where there is none, or nothing but its exit code is left of it."""
    stat = Path(f"/proc/{process}/stat")
    if not Path("/proc/self/stat").exists():  # as on macOS
        told = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(process)], capture_output=True, encoding="utf-8")
        state, _, started = told.stdout.strip().partition(" ")
        return None if not state or state.startswith("Z") else started.strip()
    try:
        # The name of the program, in parentheses, may hold spaces: what counts stands after it.
        fields = stat.read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]
