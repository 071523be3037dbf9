"""What the wire servers share: HTTP or TLS on a free port, routes, credentials, faults, and a record of requests."""

import io
import json
import re
import socket
import ssl
import struct
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Self
from urllib.parse import parse_qs, unquote, urlsplit

import trustme

from tests.servers.faults import Faults, send


class RefusedError(Exception):
    """A request is refused, with an HTTP status and a sentence."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


@dataclass(frozen=True)
class Request:
    """A request as it came.

    Attributes:
        method: GET, POST, …
        path: The path, still quoted.
        query: The values of each key of the query.
        headers: By lower-case name.
        body: The bytes.
    """

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """Returns the body as JSON."""
        try:
            return json.loads(self.body or b"{}")
        except ValueError as error:
            raise RefusedError(400, f"Invalid JSON payload received: {error}") from None

    def one(self, name: str, default: str = "") -> str:
        """Returns a value of the query."""
        return self.query.get(name, [default])[-1]

    def only(self, *allowed: str) -> None:
        """Refuses a query with other keys than these."""
        for name in self.query:
            if name not in {*allowed, "$alt", "alt", "prettyPrint"}:
                raise RefusedError(
                    400, f'Invalid JSON payload received. Unknown name "{name}": Cannot bind query parameter.'
                )


@dataclass(frozen=True)
class Reply:
    """An answer."""

    body: bytes = b""
    status: int = 200
    kind: str = "application/json; charset=UTF-8"
    headers: dict[str, str] = field(default_factory=dict)


def answer(value: Any, status: int = 200) -> Reply:
    """Returns a value as a JSON answer."""
    return Reply(json.dumps(value).encode(), status)


Handler = Callable[..., Reply]
_ROUTES = "_wire_routes"


def route(method: str, pattern: str) -> Callable[[Handler], Handler]:
    """Serves a path, in which `{name}` is a segment without `/` and `:`, and `{name+}` may contain both."""

    def mark(handler: Handler) -> Handler:
        handler.__dict__.setdefault(_ROUTES, []).append((method, _compiled(pattern)))
        return handler

    return mark


def _compiled(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"(\{\w+\+?\})", pattern)
    expression = "".join(
        (f"(?P<{part[1:-2]}>.+)" if part.endswith("+}") else f"(?P<{part[1:-1]}>[^/:]+)")
        if part.startswith("{")
        else re.escape(part)
        for part in parts
    )
    return re.compile(expression)


class WireServer:
    """A server on a free port of this machine, between `with` and its end.

    Attributes:
        token: The bearer token that requests must carry; None admits any.
        faults: What goes wrong.
        requests: Everything that was asked, in order.
        port: The port.
        ca: The certificate authority that clients must trust, for a server with TLS.
    """

    tls: ClassVar[bool] = False

    def __init__(self, token: str | None = None) -> None:
        self.token = token
        self.faults = Faults()
        self.requests: list[Request] = []
        self.ca = trustme.CA() if self.tls else None
        self._routes = list(_routes(type(self)))
        self._closing = threading.Event()
        server = self

        class Connection(_Connection):
            wire = server

        self._http = _Listener(("127.0.0.1", 0), Connection)
        self.port: int = self._http.server_address[1]
        if self.ca is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            self.ca.issue_cert("localhost", "127.0.0.1").configure_cert(context)
            self._http.context = context

    @property
    def address(self) -> str:
        """localhost:PORT."""
        return f"localhost:{self.port}"

    @property
    def url(self) -> str:
        """The address with its scheme."""
        return f"{'https' if self.tls else 'http'}://{self.address}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._http.shutdown()
        self._http.server_close()
        self.close()

    def close(self) -> None:
        """Ends what the server started."""

    def asked(self, method: str, path: str) -> list[Request]:
        """Returns the requests whose whole path matches a regular expression."""
        return [r for r in self.requests if r.method == method and re.fullmatch(path, r.path)]

    def admit(self, request: Request) -> None:
        """Refuses whoever does not carry the token."""
        if self.token is not None and request.headers.get("authorization") != f"Bearer {self.token}":
            raise RefusedError(401, "Request had invalid authentication credentials. Expected OAuth 2 access token.")

    def problem(self, refusal: RefusedError) -> Reply:
        """Returns a refusal as this server's API writes it."""
        return answer({"error": {"code": refusal.status, "message": refusal.message}}, refusal.status)

    def serve(self, request: Request) -> Reply | str | None:
        """Answers a request; returns None for a connection that is to be reset, or what is to be sent of `WIRE`."""
        self.requests.append(request)
        fault = self.faults.strike(request.method, request.path)
        if fault is not None and fault.seconds and self._closing.wait(fault.seconds):
            return None
        if fault is not None and fault.wire is not None:
            return fault.wire
        try:
            if fault is not None and fault.status is not None:
                refused = self.problem(RefusedError(fault.status, fault.message))
                return Reply(refused.body, refused.status, refused.kind, fault.headers)
            self.admit(request)
            reply = self._handle(request)
        except RefusedError as refusal:
            reply = self.problem(refusal)
        except Exception:
            reply = self.problem(RefusedError(500, traceback.format_exc()))
        return None if fault is not None and fault.reset else reply

    def _handle(self, request: Request) -> Reply:
        known = False
        for method, pattern, name in self._routes:
            if found := pattern.fullmatch(request.path):
                known = True
                if method == request.method:
                    values = {key: unquote(value) for key, value in found.groupdict().items()}
                    return getattr(self, name)(request, **values)
        raise RefusedError(405 if known else 404, f"{request.method} {request.path}: no such method of this API")


def _routes(server: type) -> Iterator[tuple[str, re.Pattern[str], str]]:
    for kind in server.__mro__:
        for name, member in vars(kind).items():
            for method, pattern in getattr(member, _ROUTES, ()):
                yield method, pattern, name


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    context: ssl.SSLContext | None = None

    def finish_request(self, request: Any, address: Any) -> None:
        if self.context is not None:  # here, in the connection's own thread: a slow handshake holds up nobody
            try:
                request = self.context.wrap_socket(request, server_side=True)
            except OSError:
                return
        super().finish_request(request, address)

    def handle_error(self, request: Any, address: Any) -> None:
        """A client that went away is no news."""


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wire: WireServer

    def _serve(self) -> None:
        split = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        query = parse_qs(split.query, keep_blank_values=True)
        reply = self.wire.serve(Request(self.command, split.path, query, headers, self._body(headers)))
        if reply is None:
            self._reset()
            return
        if isinstance(reply, str):
            self.close_connection = True
            send(reply, self.connection)
            return
        self.send_response(reply.status)
        for name, value in {"Content-Type": reply.kind, **reply.headers}.items():
            self.send_header(name, value)
        if "content-length" not in {name.lower() for name in reply.headers}:
            self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = _serve  # noqa: N815  # the names that http.server looks for

    def _body(self, headers: dict[str, str]) -> bytes:
        if headers.get("transfer-encoding") != "chunked":
            return self.rfile.read(int(headers.get("content-length") or 0))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _reset(self) -> None:
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.rfile.close()
        self.wfile.close()
        self.wfile = io.BytesIO()  # for the handler's own end
        self.connection.close()

    def log_message(self, format: str, *arguments: object) -> None:
        """Says nothing: `WireServer.requests` has it."""


def wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Waits until something is so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came about"
        time.sleep(0.05)


def free_port() -> int:
    """Returns a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
