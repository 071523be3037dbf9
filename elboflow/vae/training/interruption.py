"""Deferred signals: a signal that ends a training takes effect after its state has been saved."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_DEFERRED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Interruption:
    """The first signal that asks a training to end, or None. True as soon as there is one."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    def __bool__(self) -> bool:
        return self.signal is not None


@contextmanager
def deferred() -> Iterator[Interruption]:
    """Defers SIGTERM, SIGINT and SIGHUP to the end of the `with` statement, and then raises the first signal again.

    The body should check the interruption and end early. A second SIGINT takes effect at once, for a user who does not
    want to wait. Other further signals have no effect, because a terminal and a runner may both signal the same step.
    Signals that were ignored before are still ignored.
    """
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption  # only the main thread can set signal handlers
        return
    handlers = {number: signal.getsignal(number) for number in _DEFERRED}
    before = {number: handler for number, handler in handlers.items() if handler not in (signal.SIG_IGN, None)}

    def note(number: int, _: FrameType | None) -> None:
        if interruption.signal is None:
            interruption.signal = signal.Signals(number)
            if signal.SIGINT in before:
                signal.signal(signal.SIGINT, before[signal.SIGINT])

    for number in before:
        signal.signal(number, note)
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if interruption.signal is not None:
        signal.raise_signal(interruption.signal)
