"""Signals that end a training wait until its state is safe."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_DEFERRED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Interruption:
    """What has been asked of a training from outside; true as soon as it is to end."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    def __bool__(self) -> bool:
        return self.signal is not None


@contextmanager
def deferred() -> Iterator[Interruption]:
    """Keeps SIGTERM, SIGINT and SIGHUP until the body has ended, and raises them then as if they came at that moment.

    The body looks at the interruption and ends early. A SIGINT that follows acts at once, for a person who does not
    want to wait; any other is part of the same ending, as when a terminal and a run both tell a step to end. A signal
    that was ignored before stays so.
    """
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption  # signals are the main thread's
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
