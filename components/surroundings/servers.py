"""Timeouts and size limits for every HTTP request of this process, by any client.

`watch` lets urllib3, on which MLflow, Kubeflow, Google and requests stand, make the connections of
`connections`. Their rules are those of `exchange` and `waiting`:

- A server that has not answered for 60 s, however often it was asked, is given up (`NoAnswerError`); after 10 s of
  silence a line says what is being waited for. An error of the server (5xx, 429) and a redirect are no answers.
- An answer ends within 60 s and has at most 64 MiB, packed and unpacked. A file (`is_file`) has as long as its bytes
  take at 10 kB/s, and may be larger.
- A process that is told to end (`hurry`) gives each server 2 s from then on.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

from components.surroundings import waiting
from components.surroundings.causes import reason, short
from components.surroundings.waiting import NoAnswerError, hurry, server_at, within

__all__ = [
    "NoAnswerError",
    "abandon",
    "hurried_by_interrupts",
    "hurry",
    "introduce",
    "reason",
    "short",
    "watch",
    "within",
]


def watch() -> None:
    """Bounds all requests that this process makes through urllib3 from now on; without effect the second time."""
    from components.surroundings import connections

    connections.install()


def introduce(address: str, name: str, seconds: float | None = None) -> None:
    """Says what the server at an address is called, and how long it is asked without an answer.

    One with `math.inf` seconds, such as an engine that streams logs, is bounded by nothing but its client.
    """
    if (server := _server(address)) is not None:
        server.name, server.seconds = name, waiting.ANSWER_SECONDS if seconds is None else seconds


def abandon(address: str) -> None:
    """Ends all waits for the server at an address, and fails all further requests until it is introduced again."""
    if (server := _server(address)) is not None:
        server.abandon()


def _server(address: str) -> waiting.Server | None:
    with suppress(ValueError):  # the request to such an address fails, and says why
        split = urlsplit(address)
        if split.hostname is not None and split.scheme in ("http", "https"):
            return server_at(split.hostname, split.port or (443 if split.scheme == "https" else 80))
    return None


@contextmanager
def hurried_by_interrupts() -> Iterator[None]:
    """Lets Ctrl-C end all waiting for servers, also that of other threads, which Python would wait for."""
    before = signal.getsignal(signal.SIGINT)
    if before != signal.default_int_handler or threading.current_thread() is not threading.main_thread():
        yield  # another handler is installed, or the signal is ignored
        return

    def interrupt(*_: object) -> None:
        hurry()
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
