"""A real MLflow server, and a way to it on which things go wrong."""

import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers.wire import Reply, Request, WireServer, free_port, route, wait_for


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Yields the address of a real MLflow on SQLite, whose files lie in a folder."""
    port = free_port()
    words = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    words += [
        "--backend-store-uri",
        f"sqlite:///{folder}/mlflow.db",
        "--artifacts-destination",
        str(folder / "artifacts"),
    ]
    quick = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # which takes half a dozen processes
    with (folder / "log.txt").open("wb") as log:
        server = subprocess.Popen(words, stdout=log, stderr=subprocess.STDOUT, start_new_session=True, env=quick)
    address = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        assert server.poll() is None, (folder / "log.txt").read_text(encoding="utf-8")
        try:
            urllib.request.urlopen(f"{address}/health", timeout=5).close()
        except OSError:
            return False
        return True

    try:
        wait_for(answers, 120)
        yield address
    finally:
        server.terminate()
        server.wait(timeout=30)


class Proxy(WireServer):
    """Passes requests on to a server, except for those that a fault meets."""

    def __init__(self, server: str) -> None:
        super().__init__()
        self._server = server

    @route("GET", "{path+}")
    @route("POST", "{path+}")
    def passed(self, request: Request, path: str) -> Reply:
        """Asks the server."""
        query = "&".join(f"{name}={value}" for name, values in request.query.items() for value in values)
        asked = urllib.request.Request(
            f"{self._server}{request.path}" + (f"?{query}" if query else ""),
            data=request.body if request.method == "POST" else None,
            headers={"Content-Type": "application/json"},
            method=request.method,
        )
        try:
            with urllib.request.urlopen(asked, timeout=60) as answered:
                return Reply(answered.read(), answered.status)
        except urllib.error.HTTPError as refused:
            return Reply(refused.read(), refused.code)
