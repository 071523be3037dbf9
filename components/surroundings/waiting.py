"""Waiting for servers: the time without a response, the timeout of a request, and the log lines until then.

`exchange` asks it before every read and write.
"""

import logging
import math
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

from components.surroundings.masking import masked
from elboflow.settings import WorkError

logger = logging.getLogger("elboflow.servers")

ANSWER_SECONDS = 60.0
"""The longest that a server may be silent, that an answer may take, and that a server is asked without an answer."""

NOTICE_SECONDS = 10.0
HURRY_SECONDS = 2.0
NO_ANSWER = "no answer in time"

_GIVEN_UP_SECONDS = 30.0  # for which a server that was given up gets no more than HURRY_SECONDS
_FORGOTTEN_SECONDS = 40.0  # without a request, which is more than any client pauses between two tries


class NoAnswerError(WorkError):
    """A server gave no answer in the time, or in the size, that an answer may have."""


class Asking(Protocol):
    """A request whose answer is not whole yet."""

    server: "Server"

    def cut(self) -> None:
        """Ends the wait of any thread."""


in_progress: "weakref.WeakSet[Asking]" = weakref.WeakSet()

_lock = threading.Lock()
_servers: dict[tuple[str, int], "Server"] = {}
_hurried: float | None = None
_at_most = math.inf


def server_at(host: str, port: int) -> "Server":
    """Returns what this process knows of a server."""
    with _lock:
        return _servers.setdefault((host.strip("[]").lower(), port), Server(f"the server {host}:{port}"))


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Gives every server that many seconds at most, within the block."""
    global _at_most
    before, _at_most = _at_most, seconds
    try:
        yield
    finally:
        _at_most = before


def hurry() -> None:
    """Ends all waits for servers within `HURRY_SECONDS`: the process was told to end."""
    global _hurried
    _hurried = _hurried or time.monotonic()
    for exchange in _in_progress():
        exchange.cut()


class Server:
    """A server, and since when it has been asked without an answer.

    Attributes:
        name: What a person calls it.
        seconds: How long it may be asked without an answer.
    """

    def __init__(self, name: str) -> None:
        self.name, self.seconds = name, ANSWER_SECONDS
        self._since: float | None = None
        self._last_asked = self._given_up = -math.inf
        self._why = ""
        self._notice: threading.Timer | None = None

    def asked(self) -> None:
        """A request begins."""
        now = time.monotonic()
        if self._since is not None and now - self._last_asked > _FORGOTTEN_SECONDS:
            self.answered()
        self._last_asked = now
        if self._since is None:
            self._since, self._why = now, ""
            if not math.isinf(self.seconds):
                self._watch(NOTICE_SECONDS)
        self.left()

    def progressed(self) -> None:
        """A part of a file has come or gone."""
        if self._since is not None:
            self._since = self._last_asked = time.monotonic()

    def answered(self) -> None:
        """An answer has come, whole."""
        self._since, self._given_up = None, -math.inf
        if self._notice is not None:
            self._notice.cancel()

    def left(self, seconds: float = 0.0) -> float:
        """Returns the seconds for which this server may still be waited for.

        Args:
            seconds: What it has at least, unless the process is ending.

        Raises:
            NoAnswerError: None.
        """
        now = time.monotonic()
        since = now if self._since is None else self._since
        ends = since + self.limit(seconds)
        if now < self._given_up + _GIVEN_UP_SECONDS:
            ends = min(ends, max(since, self._given_up) + HURRY_SECONDS)
        if _hurried is not None:
            ends = min(ends, max(since, _hurried) + HURRY_SECONDS)
        if ends <= now:
            self.give_up(f"gave no answer for {now - since:.0f} s" + (f" ({self._why})" if self._why else ""))
        return ends - now

    def limit(self, seconds: float = 0.0) -> float:
        """Returns how long it may take, or those seconds where they are more; no longer than `within` allows."""
        return min(max(self.seconds, seconds), _at_most)

    def failed(self, why: str) -> None:
        """A request has failed; another try may follow, unless it is too late for one.

        Raises:
            NoAnswerError: It is.
        """
        self._why = "" if why == NO_ANSWER else masked(why)
        if _hurried is not None or time.monotonic() < self._given_up + _GIVEN_UP_SECONDS:
            self.give_up("gave no answer" + (f" ({self._why})" if self._why else ""))
        self.left()

    def give_up(self, why: str) -> None:
        """Gives this server up.

        Raises:
            NoAnswerError: Always.
        """
        self._given_up = time.monotonic()
        if self._notice is not None:
            self._notice.cancel()
        self._since = None
        raise NoAnswerError(masked(f"{self.name} {why}"))

    def abandon(self) -> None:
        """Ends all waits for this server, and fails all further requests until it is introduced again."""
        self.seconds, self._since = 0.0, None
        if self._notice is not None:
            self._notice.cancel()
        for exchange in _in_progress():
            if exchange.server is self:
                exchange.cut()

    def _watch(self, seconds: float) -> None:
        self._notice = threading.Timer(seconds, self._notify)
        self._notice.daemon = True
        self._notice.start()

    def _notify(self) -> None:
        since = self._since
        if since is None:
            return
        silent = time.monotonic() - since
        if silent < NOTICE_SECONDS:  # parts of a file have come
            self._watch(NOTICE_SECONDS - silent)
        elif self._is_asked():
            why = f" ({self._why})" if self._why else ""
            logger.warning("waiting for %s: no answer for %.0f s%s", masked(self.name), silent, why)

    def _is_asked(self) -> bool:
        """Returns whether an answer is waited for, or another try: a client pauses about as long as it has tried."""
        since = self._last_asked if self._since is None else self._since
        pause = time.monotonic() - self._last_asked
        return pause < 2.0 + 2.0 * (self._last_asked - since) or any(each.server is self for each in _in_progress())


def _in_progress() -> list[Asking]:
    while True:
        with suppress(RuntimeError):  # another thread has begun or ended one
            return list(in_progress)
