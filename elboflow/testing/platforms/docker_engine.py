"""A Docker engine on a Unix socket: the part of its API that running a container takes.

A container is a process of this machine, so that what was to run in it really runs. Mounts must therefore have the same
path on both sides, as they have in a run of ours.
"""

import json
import os
import re
import socketserver
import struct
import subprocess
import sys
import threading
import time
import uuid
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from elboflow.artifacts.child import end_group


@dataclass
class Container:
    """A container, as it was asked for.

    Attributes:
        name: Its name.
        wanted: The body of the request that created it.
        process: What runs in it.
        removed: Whether it was removed: it then cannot be started.
    """

    name: str
    wanted: dict[str, Any]
    process: "subprocess.Popen[bytes] | None" = None
    removed: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)  # an engine starts and removes one at a time

    def start(self) -> bool:
        """Starts its process and returns True, or returns False where the container was removed."""
        with self._lock:
            if not self.removed:
                self.process = self._begun()
            return not self.removed

    def _begun(self) -> "subprocess.Popen[bytes]":
        """Returns its process, with the environment that it was given and what this Python needs."""
        here = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(Path(__file__).parents[2]),
        }
        given = dict(each.split("=", 1) for each in self.wanted.get("Env") or [])
        return subprocess.Popen(
            [*(self.wanted.get("Entrypoint") or []), *self.wanted["Cmd"]],
            env={**here, **given},
            cwd=self.wanted.get("WorkingDir") or None,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def stop(self, patience: float) -> None:
        """Ends its processes: by SIGTERM, and after `patience` seconds by SIGKILL."""
        if self.process is not None and self.process.poll() is None:
            end_group(self.process, patience)

    def remove(self) -> None:
        """Ends its processes at once, and removes it."""
        with self._lock:
            self.removed = True
            self.stop(0)


class DockerEngine:
    """The engine.

    Attributes:
        host: What DOCKER_HOST is to be.
        images: The images that it has; others cannot be pulled.
        containers: All that were created, by their ids; those that were removed, too.
        start_seconds: For how long it does not answer yet when it has started a container.
    """

    def __init__(self, folder: Path, *images: str) -> None:
        self.images = images
        self.start_seconds = 0.0
        self.containers: dict[str, Container] = {}
        engine = self

        class Handler(_Handler):
            def __init__(self, *arguments: Any) -> None:
                self.engine = engine
                super().__init__(*arguments)

        self._socket = folder / "docker.sock"
        self.host = f"unix://{self._socket}"
        self._server = _Server(str(self._socket), Handler)

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        for container in self.containers.values():
            container.stop(10)


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 64


class _Handler(BaseHTTPRequestHandler):
    engine: DockerEngine
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._route("GET")

    def do_HEAD(self) -> None:
        self._route("HEAD")

    def do_POST(self) -> None:
        self._route("POST")

    def do_DELETE(self) -> None:
        self._route("DELETE")

    def _route(self, method: str) -> None:
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = re.sub(r"^/v[\d.]+", "", url.path)
        container = self._container(path.split("/")[2]) if path.startswith("/containers/") else None
        match method, path.rpartition("/")[2]:
            case _, "_ping" | "version":
                self._answer({"ApiVersion": "1.44", "Version": "27.0", "MinAPIVersion": "1.24"})
            case "GET", "info":
                self._answer({"SecurityOptions": []})
            case "GET", "json" if path == "/images/json":
                self._answer(
                    [{"Id": f"sha256:{tag}", "RepoTags": [tag], "RepoDigests": []} for tag in self.engine.images]
                )
            case "GET", "json" if path.startswith("/images/"):
                self._answer({"Id": "sha256:0", "RepoTags": list(self.engine.images), "RepoDigests": []})
            case "POST", "create" if path == "/images/create":
                missing = f"pull access denied for {query['fromImage']}:{query.get('tag', '')}, it does not exist"
                self._answer({"message": missing}, 404)
            case "POST", "create" if path == "/containers/create":
                self._create(query["name"], json.loads(body))
            case "GET", "json" if path == "/containers/json":
                self._list(json.loads(query.get("filters", "{}")))
            case _ if container is None:
                self._answer({"message": f"No such route or container: {method} {path}"}, 404)
            case "POST", "start":
                if container.start():
                    time.sleep(self.engine.start_seconds)
                    self._answer(None, 204)
                else:
                    self._answer({"message": "No such container"}, 404)
            case "GET", "json":
                self._answer({"Id": path.split("/")[2], "Config": {"Tty": False}, "Name": "/step", "State": {}})
            case "GET", "logs":
                self._logs(container)
            case "POST", "wait":
                assert container.process is not None
                self._answer({"StatusCode": container.process.wait()})
            case "POST", "stop":
                container.stop(float(query["t"]))
                self._answer(None, 204)
            case "DELETE", _:
                container.remove()
                self._answer(None, 204)

    def _container(self, wanted: str) -> Container | None:
        """Returns a container by its id or its name; None where there is none."""
        found = (each for id, each in self.engine.containers.items() if wanted in (id, each.name) and not each.removed)
        return next(found, None)

    def _create(self, name: str, wanted: dict[str, Any]) -> None:
        mounts = [(each["Source"], each["Target"]) for each in wanted["HostConfig"].get("Mounts") or []]
        if wanted["Image"] not in self.engine.images or any(here != there for here, there in mounts):
            self._answer({"message": f"No such image, or mounts that cannot be: {wanted['Image']}, {mounts}"}, 404)
            return
        id = uuid.uuid4().hex
        self.engine.containers[id] = Container(name, wanted)
        self._answer({"Id": id, "Warnings": []}, 201)

    def _list(self, filters: dict[str, list[str]]) -> None:
        labels = [label.split("=", 1) for label in filters.get("label", [])]
        found = [
            {"Id": id}
            for id, container in self.engine.containers.items()
            if container.process is not None
            and container.process.poll() is None
            and all((container.wanted.get("Labels") or {}).get(name) == value for name, value in labels)
        ]
        self._answer(found)

    def _logs(self, container: Container) -> None:
        assert container.process is not None
        assert container.process.stdout is not None
        self.send_response(200)
        self.send_header("Connection", "close")
        self.end_headers()
        for line in container.process.stdout:  # each in a frame: the stream, and how long it is
            self.wfile.write(struct.pack(">BxxxL", 1, len(line)) + line)
            self.wfile.flush()
        self.close_connection = True

    def _answer(self, content: Any, status: int = 200) -> None:
        body = b"" if content is None else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Api-Version", "1.44")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def address_string(self) -> str:
        return "unix"

    def log_message(self, *_: object) -> None:
        pass
