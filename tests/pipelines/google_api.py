"""A Google API over TLS on this machine, asked by Google's own client libraries with credentials of their own kind."""

import json
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa


class Handler(BaseHTTPRequestHandler):
    """Answers GET requests by their path, to those who bring a token; a POST is how one gets it."""

    server: "Server"

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.server.asked.append(path)
        if not self.headers.get("Authorization", "").startswith("Bearer "):
            status, body = 401, {"error": {"code": 401, "message": "no token", "status": "UNAUTHENTICATED"}}
        else:
            status, body = self.server.answers.get(
                path, (404, {"error": {"code": 404, "message": f"{path} not found", "status": "NOT_FOUND"}})
            )
        self._send(status, body)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._send(200, {"access_token": "token", "expires_in": 3600, "token_type": "Bearer"})

    def _send(self, status: int, body: Any) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    """Attributes: the answers by path, as (status, JSON), and the paths that were asked for."""

    daemon_threads = True

    def __init__(self, answers: Mapping[str, tuple[int, Any]]) -> None:
        super().__init__(("localhost", 0), Handler)
        self.answers, self.asked = answers, []

    @property
    def endpoint(self) -> str:
        return f"localhost:{self.server_port}"


@contextmanager
def serving(folder: Path, monkeypatch: pytest.MonkeyPatch, answers: Mapping[str, tuple[int, Any]]) -> Iterator[Server]:
    """Serves, and makes this process and its children trust the server and be a service account."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "authority.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with Server(answers) as server:
        account = {
            "type": "service_account",
            "project_id": "p",
            "private_key_id": "1",
            "private_key": key.decode(),
            "client_email": "steps@p.iam.gserviceaccount.com",
            "token_uri": f"https://{server.endpoint}/token",
        }
        (folder / "account.json").write_text(json.dumps(account), encoding="utf-8")
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(folder / "account.json"))
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(folder / "authority.pem"))
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()
