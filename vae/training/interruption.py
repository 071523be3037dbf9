"""Signals that end a training wait until its state is safe."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_DEFERRED = (signal.SIGTERM, signal.SIGINT)


class Interruption:
    """What has been asked of a training from outside."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    def __bool__(self) -> bool:
        return self.signal is not None


@contextmanager
def deferred() -> Iterator[Interruption]:
    """Keeps SIGTERM and SIGINT until the body has ended, and raises them then as if they came at that moment.

    The body looks at the interruption and ends early. A second signal acts at once.
    """
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption  # signals are the main thread's
        return
    before = {number: signal.getsignal(number) for number in _DEFERRED}

    def note(number: int, _: FrameType | None) -> None:
        interruption.signal = signal.Signals(number)
        restore()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in _DEFERRED:
        signal.signal(number, note)
    try:
        yield interruption
    finally:
        restore()
    if interruption.signal is not None:
        signal.raise_signal(interruption.signal)
