"""How long this process waits for a server, and how much it takes from one: for every request over HTTP, by any client.

`watch` lets urllib3, on which MLflow, Kubeflow, Google and requests stand, make its connections through
`components.connections`, which asks this file before each byte. The rules:

- A server that has not answered for 60 s, however often it was asked, is given up (`NoAnswerError`); after 10 s of
  silence a line says what is being waited for. An error of the server (5xx, 429) and a redirect are no answers.
- An answer ends within 60 s and has at most 64 MiB, packed and unpacked. A file (`is_file`) has as long as its bytes
  take at 10 kB/s, and may be larger.
- A process that is told to end (`hurry`) gives each server 2 s from then on.
"""

import logging
import math
import re
import signal
import socket
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from components.masking import masked
from settings import WorkError

logger = logging.getLogger("elboflow.servers")

CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 60.0
"""The longest that a server may be silent, that an answer may take, and that a server is asked without an answer."""

NOTICE_SECONDS = 10.0
HURRY_SECONDS = 2.0

ANSWER_BYTES = 64 * 2**20
FILE_BYTES = 64 * 2**30
FILE_BYTES_PER_SECOND = 10_000
"""A file that is slower is given up, as a file that never ends."""

_NO_ANSWER = "no answer in time"
_LONGEST_REASON = 500
_STORED_BYTES_PER_SECOND = 10_000_000  # at which a server may pass an upload on before it answers
_GIVEN_UP_SECONDS = 30.0  # for which a server that was given up gets no more than HURRY_SECONDS
_FORGOTTEN_SECONDS = 40.0  # without a request, which is more than any client pauses between two tries
# MLflow's files; Cloud Storage's, and addresses that S3, Cloud Storage or Azure have signed.
_FILE = re.compile(
    r"/mlflow-artifacts/artifacts/|/get-artifact\b|/(down|up)load/storage/|[?&](alt=media|uploadType=|sig=)"
    r"|[?&]X-(Amz|Goog)-Signature="
)


class NoAnswerError(WorkError):
    """A server gave no answer in the time, or in the size, that an answer may have."""


def watch() -> None:
    """Bounds all requests that this process makes through urllib3 from now on; without effect the second time."""
    from components import connections

    connections.install()


def introduce(address: str, name: str, seconds: float | None = None) -> None:
    """Says what the server at an address is called, and how long it is asked without an answer.

    One with `math.inf` seconds, such as an engine that streams logs, is bounded by nothing but its client.
    """
    with suppress(ValueError):  # whoever asks at such an address will say so
        split = urlsplit(address)
        if split.hostname is not None:
            server = server_at(split.hostname, split.port or (443 if split.scheme == "https" else 80))
            server.name, server.seconds = name, ANSWER_SECONDS if seconds is None else seconds


def server_at(host: str, port: int) -> "Server":
    """Returns what this process knows of a server."""
    with _lock:
        return _servers.setdefault((host.strip("[]").lower(), port), Server(f"the server {host}:{port}"))


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Gives every server that many seconds at most, meanwhile."""
    global _at_most
    before, _at_most = _at_most, seconds
    try:
        yield
    finally:
        _at_most = before


def hurry() -> None:
    """Ends all waiting for servers: this process was told to end, and asks no more than it must."""
    global _hurried
    _hurried = _hurried or time.monotonic()
    for exchange in _in_progress():
        exchange.cut()


@contextmanager
def hurried_by_interrupts() -> Iterator[None]:
    """Lets Ctrl-C end all waiting for servers, also that of other threads, which Python would wait for."""
    before = signal.getsignal(signal.SIGINT)
    if before != signal.default_int_handler or threading.current_thread() is not threading.main_thread():
        yield  # somebody else's, or ignored
        return

    def interrupt(*_: object) -> None:
        hurry()
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def short(error: BaseException) -> str:
    """Returns what went wrong on the way to a server, without the layers of the libraries around it."""
    deepest: BaseException = error
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, NoAnswerError):
            return str(cause)
        if isinstance(cause, TimeoutError):
            return _NO_ANSWER
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        deepest, cause = cause, cause.__cause__ or cause.__context__
    return str(deepest).partition("\n")[0][:_LONGEST_REASON] or type(deepest).__name__


def reason(error: BaseException) -> str:
    """Returns the first line of an error of MLflow's, or what went wrong on the way to its server."""
    from requests import RequestException

    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, RequestException | NoAnswerError):
            return short(error)
        cause = cause.__cause__ or cause.__context__
    return str(error).strip().partition("\n")[0][:_LONGEST_REASON]  # an answer's body may be part of it


def is_file(target: str) -> bool:
    """Returns whether the path and query of a request are those of a file, which may be large."""
    return _FILE.search(target) is not None


_lock = threading.Lock()
_servers: dict[tuple[str, int], "Server"] = {}
_exchanges: "weakref.WeakSet[Exchange]" = weakref.WeakSet()
_hurried: float | None = None
_at_most = math.inf


def _in_progress() -> list["Exchange"]:
    while True:
        with suppress(RuntimeError):  # another thread has begun or ended one meanwhile
            return list(_exchanges)


def _seconds(retry_after: str) -> float:
    """Returns the seconds of a Retry-After header, which is a number or a date; 0 for anything else."""
    with suppress(ValueError):
        return float(retry_after)
    with suppress(ValueError):
        return parsedate_to_datetime(retry_after).timestamp() - time.time()
    return 0.0


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
        ends = since + min(max(self.seconds, seconds), _at_most)
        if now < self._given_up + _GIVEN_UP_SECONDS:
            ends = min(ends, max(since, self._given_up) + HURRY_SECONDS)
        if _hurried is not None:
            ends = min(ends, max(since, _hurried) + HURRY_SECONDS)
        if ends <= now:
            self.give_up(f"gave no answer for {now - since:.0f} s" + (f" ({self._why})" if self._why else ""))
        return ends - now

    def failed(self, why: str) -> None:
        """A request has failed; another try may follow, unless it is too late for one.

        Raises:
            NoAnswerError: It is.
        """
        self._why = "" if why == _NO_ANSWER else masked(why)
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


class Exchange:
    """A request and its answer: how long it may take, and how much it may bring.

    Args:
        server: Who is asked.
    """

    def __init__(self, server: Server) -> None:
        self.server = server
        self.socket: socket.socket | None = None
        self._begun = time.monotonic()
        self._file = False
        self._sent = self._received = 0
        server.asked()
        _exchanges.add(self)

    def is_for(self, target: str) -> None:
        """Says what is asked for: the path and query of the request."""
        self._file = is_file(target)

    def remaining(self, timeout: float | None) -> float | None:
        """Returns the seconds that the next byte may take; None for any number.

        Args:
            timeout: What the client itself allows.

        Raises:
            NoAnswerError: None.
        """
        silence = ANSWER_SECONDS
        ends = self._begun + min(max(ANSWER_SECONDS, self.server.seconds), _at_most)
        if self._file:
            silence = max(silence, self._sent / _STORED_BYTES_PER_SECOND)
            ends += (self._sent + self._received) / FILE_BYTES_PER_SECOND
        left = min(self.server.left(silence if self._file else 0.0), max(silence, self.server.seconds))
        now = time.monotonic()
        if ends <= now:
            self.server.give_up(f"did not end its answer within {now - self._begun:.0f} s")
        least = min(left, ends - now, math.inf if timeout is None else timeout)
        return None if math.isinf(least) else least

    def failed(self, why: str) -> None:
        """It broke off; another try may follow.

        Raises:
            NoAnswerError: It is too late for one.
        """
        _exchanges.discard(self)
        self.server.failed(why)

    def sent(self, size: int) -> None:
        """Some bytes have gone."""
        self._sent += size
        if self._file:
            self.server.progressed()

    def received(self, size: int, unpacked: int = 0) -> None:
        """Some bytes have come.

        Args:
            size: How many.
            unpacked: All that the answer has brought so far, once unpacked.

        Raises:
            NoAnswerError: They are too many.
        """
        self._received += size
        if self._file and size:
            self.server.progressed()
        most = FILE_BYTES if self._file else ANSWER_BYTES
        if max(self._received, unpacked) > most and not math.isinf(self.server.seconds):
            self.server.give_up(f"answers with more than {most / 2**20:,.0f} MiB, which no such answer has")

    def has_status(self, status: int, retry_after: str | None) -> None:
        """The answer has begun.

        Args:
            status: Its status.
            retry_after: Its header of that name, which clients obey.

        Raises:
            NoAnswerError: It is an error of the server, and too late for another try.
        """
        if status in (408, 429) or status >= 500:
            self.server.failed(f"it answers {status}")
        if retry_after is not None and _seconds(retry_after) > self.server.left():
            self.server.give_up(f"answers {status}, and asks to be left alone (Retry-After: {retry_after[:40]})")

    def ended(self, status: int) -> None:
        """The answer has ended."""
        _exchanges.discard(self)
        if status < 300 or (400 <= status < 500 and status not in (408, 429)):
            self.server.answered()

    def cut(self) -> None:
        """Ends the waiting of whatever thread it is that waits."""
        if self.socket is not None:
            with suppress(OSError):  # it has ended
                self.socket.shutdown(socket.SHUT_RDWR)
