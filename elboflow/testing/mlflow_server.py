"""A real MLflow server, for as long as a test needs it."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STARTS_WITHIN = 120.0
"""Seconds that the server has to answer for the first time."""


@contextmanager
def serving(folder: Path, *options: str, **variables: str) -> Iterator[str]:
    """Yields the address of a real MLflow on SQLite, which ends with the block.

    Args:
        folder: Where its database, its artifacts and its log go.
        *options: Further options of `mlflow server`.
        **variables: Further variables of its environment.

    Raises:
        RuntimeError: It did not start; the message is its log.
    """
    port = _free_port()
    words = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    words += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", f"{folder}/artifacts"]
    words += options
    # Jobs take half a dozen processes.
    quick = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", **variables}
    with (folder / "log.txt").open("wb") as log:
        server = subprocess.Popen(words, stdout=log, stderr=subprocess.STDOUT, start_new_session=True, env=quick)
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + STARTS_WITHIN
        while not _answers(address):
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"MLflow did not start: {(folder / 'log.txt').read_text(encoding='utf-8')}")
            time.sleep(0.05)
        yield address
    finally:
        server.terminate()
        server.wait(timeout=30)


def _answers(address: str) -> bool:
    try:
        urllib.request.urlopen(f"{address}/health", timeout=5).close()
    except OSError:
        return False
    return True


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
