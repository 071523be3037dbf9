"""Connections over HTTP that `servers` bounds, for urllib3 and for urllib.

urllib3 takes the class of its connections from its pools (`ConnectionCls`), http.client that of its answers from its
connections (`response_class`): both are meant to be replaced.
"""

import http.client
import io
import logging
import socket
import threading
import urllib.request
from collections.abc import Generator, Iterator
from contextlib import suppress
from functools import partial
from typing import Any, cast

from urllib3 import connection, connectionpool
from urllib3.exceptions import HTTPError
from urllib3.response import HTTPResponse

from components.surroundings.causes import short
from components.surroundings.exchange import Exchange
from components.surroundings.waiting import server_at

CONNECT_SECONDS = 10.0

_PIECE = 2**16


def install() -> None:
    """Lets urllib3 make its connections of the classes below."""
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # it says of each try what `servers` says once
    connectionpool.HTTPConnectionPool.ConnectionCls = WatchedHTTP
    connectionpool.HTTPSConnectionPool.ConnectionCls = WatchedHTTPS


class Watched(http.client.HTTPConnection):
    """A connection whose every wait is bounded. An exchange begins with the connecting, or else with the request."""

    response_class: Any
    _exchange: Exchange | None = None

    def connect(self) -> None:
        """Connects, within seconds; names are looked up in time, too."""
        exchange = self._current()
        before = self.timeout
        try:
            self.response_class = partial(_Head, exchange=exchange, timeout=before)  # a proxy's, to CONNECT
            seconds = exchange.remaining(min(CONNECT_SECONDS, before or CONNECT_SECONDS)) or CONNECT_SECONDS
            self.timeout = seconds
            _look_up(self.host, self.port, seconds)
            super().connect()
        except (OSError, HTTPError) as error:
            self._exchange = None
            exchange.failed(short(error))
            raise
        finally:
            self.timeout = before
        exchange.socket = self.sock

    def putrequest(self, method: str, url: str, *arguments: Any, **rest: Any) -> None:
        """Begins a request."""
        self._current().is_for(url)
        super().putrequest(method, url, *arguments, **rest)

    def send(self, data: Any) -> None:
        """Sends in pieces, none of which may take for ever."""
        if self.sock is None and self.auto_open:
            self.connect()
        exchange = self._current()
        exchange.socket = self.sock
        pieces = _pieces(data) if isinstance(data, bytes | bytearray) else iter([data])
        try:
            for piece in pieces:
                if self.sock is not None:
                    self.sock.settimeout(exchange.remaining(self.timeout))
                super().send(piece)
                exchange.sent(len(piece) if isinstance(piece, bytes) else 0)
        except TimeoutError as error:
            exchange.failed(short(error))
            raise

    def getresponse(self) -> Any:
        """Waits for the answer's head."""
        exchange, self._exchange = self._current(), None
        self.response_class = partial(_Head, exchange=exchange, timeout=self.timeout)
        try:
            return super().getresponse()
        except (OSError, http.client.HTTPException) as error:
            exchange.failed(short(error))
            raise

    def _current(self) -> Exchange:
        if self._exchange is None:
            host = getattr(self, "_tunnel_host", None) or self.host
            port = getattr(self, "_tunnel_port", None) or self.port
            self._exchange = Exchange(server_at(host, port))
        return self._exchange


class _Head(http.client.HTTPResponse):
    """http.client's answer, every byte of which is read through `_Metered`."""

    def __init__(self, sock: socket.socket, *arguments: Any, exchange: Exchange, timeout: Any, **rest: Any) -> None:
        super().__init__(sock, *arguments, **rest)
        self.exchange = exchange
        self.fp = io.BufferedReader(_Metered(self.fp.detach(), sock, exchange, timeout))

    def begin(self) -> None:
        """Reads the status and the headers."""
        super().begin()
        self.exchange.has_status(self.status, self.getheader("Retry-After"))
        if self.isclosed():
            self.exchange.ended(self.status)

    def close(self) -> None:
        """Ends the answer."""
        super().close()
        self.exchange.ended(599)  # unless `Answer` has found that it was whole


class _Metered(io.RawIOBase):
    def __init__(self, raw: io.RawIOBase, sock: socket.socket, exchange: Exchange, timeout: Any) -> None:
        self._raw, self._sock, self._exchange = raw, sock, exchange
        self._timeout = timeout if isinstance(timeout, int | float) else None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(self._exchange.remaining(self._timeout))
        try:
            size = self._raw.readinto(buffer)
        except TimeoutError as error:
            self._exchange.failed(short(error))
            raise
        self._exchange.received(size or 0)
        return size

    def close(self) -> None:
        self._raw.close()
        super().close()


class Answer(HTTPResponse):
    """urllib3's answer, whose unpacked bytes are counted, too: a few of them may unpack to very many."""

    exchange: Exchange
    _unpacked = 0

    def read(self, amt: int | None = None, decode_content: bool | None = None, cache_content: bool = False) -> bytes:
        """Reads some bytes, or all."""
        if amt is not None and amt >= 0:
            return self._counted(super().read(amt, decode_content, cache_content))
        data = b"".join(self.stream(_PIECE, decode_content))
        if cache_content:
            self._body = data
        return data

    def read_chunked(self, amt: int | None = None, decode_content: bool | None = None) -> Generator[bytes]:
        """Yields the pieces of an answer of unknown length."""
        for piece in super().read_chunked(amt or _PIECE, decode_content):
            yield self._counted(piece)
        self._counted(b"")

    def _counted(self, piece: bytes) -> bytes:
        self._unpacked += len(piece)
        self.exchange.received(0, self._unpacked)
        if self.isclosed():
            self.exchange.ended(self.status)
        return piece


class _WatchedBy3(Watched):
    """What urllib3's connections need besides: its answers, which it reads while it makes them."""

    _preload = True

    def request(self, *arguments: Any, preload_content: bool = True, **rest: Any) -> None:
        """Sends a request."""
        self._preload = preload_content
        cast(Any, super()).request(*arguments, preload_content=False, **rest)  # urllib3's, which `Watched` does not say

    def getresponse(self) -> Any:
        """Waits for the answer's head, and for all of it where all is wanted."""
        response = super().getresponse()
        response.__class__ = Answer  # urllib3 has no place to say so
        answer = cast(Answer, response)
        answer.exchange = cast(_Head, answer._original_response).exchange
        if self._preload:
            _ = answer.data
        return answer


class WatchedHTTP(_WatchedBy3, connection.HTTPConnection):
    """A connection of urllib3."""


class WatchedHTTPS(_WatchedBy3, connection.HTTPSConnection):
    """A connection of urllib3 with TLS."""


class _Secure(Watched, http.client.HTTPSConnection):
    """A connection of urllib with TLS."""


class HTTP(urllib.request.HTTPHandler):
    """Lets urllib make its connections of these."""

    def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        """Asks."""
        return self.do_open(Watched, request)


class HTTPS(urllib.request.HTTPSHandler):
    """Lets urllib make its connections with TLS of these."""

    def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        """Asks."""
        return self.do_open(_Secure, request)


def _pieces(data: bytes | bytearray) -> Iterator[bytes]:
    for start in range(0, len(data), _PIECE):
        yield bytes(data[start : start + _PIECE])


def _look_up(host: str, port: int, seconds: float) -> None:
    """Looks a name up, in a thread: the system's own way to do so waits as long as it likes, and hears no signal."""
    done = threading.Event()

    def look() -> None:
        with suppress(OSError, UnicodeError):  # connecting meets the same
            socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        done.set()

    threading.Thread(target=look, daemon=True).start()
    if not done.wait(seconds):
        raise TimeoutError(f"the name {host} could not be looked up within {seconds:.0f} s")
