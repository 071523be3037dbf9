"""The connections of a wire server: HTTP or TLS, one thread each."""

import io
import socket
import ssl
import struct
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

from elboflow.testing.platforms.faults import send
from elboflow.testing.platforms.messages import Reply, Request


class Server(Protocol):
    """Who answers."""

    def serve(self, request: Request) -> Reply | str | None:
        """Answers a request; returns None for a connection that is to be reset, or what is to be sent of `WIRE`."""


class Listener(ThreadingHTTPServer):
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


class Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wire: Server

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


for _method in ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"):
    setattr(Connection, f"do_{_method}", Connection._serve)  # by these names, `http.server` calls it
