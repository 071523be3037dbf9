"""What the wire servers share: HTTP or TLS on a free port, routes, credentials, faults, and a record of requests."""

import re
import socket
import ssl
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import ClassVar, Self
from urllib.parse import unquote

import trustme

from elboflow.testing.platforms.connections import Connection, Listener
from elboflow.testing.platforms.faults import Faults
from elboflow.testing.platforms.messages import RefusedError, Reply, Request, answer
from elboflow.testing.platforms.tokens import Tokens

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
        tokens: Those of which requests must carry one instead; None where none expires.
        faults: What goes wrong.
        requests: Everything that was asked, in order.
        port: The port.
        ca: The certificate authority that clients must trust, for a server with TLS.
    """

    tls: ClassVar[bool] = False

    def __init__(self, token: str | None = None) -> None:
        self.token = token
        self.tokens: Tokens | None = None
        self.faults = Faults()
        self.requests: list[Request] = []
        self.ca = trustme.CA() if self.tls else None
        self._routes = list(_routes(type(self)))
        self._closing = threading.Event()
        server = self

        class OurConnection(Connection):
            wire = server

        self._http = Listener(("127.0.0.1", 0), OurConnection)
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
        """Refuses whoever does not carry the token, or one of the tokens that has not expired."""
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        known = self.token in (None, bearer) if self.tokens is None else self.tokens.owner(bearer) is not None
        if not known:
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
