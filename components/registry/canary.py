"""Whether a registered version answers: it is served in a fresh process, as MLflow serves it, and asked over HTTP.

The process loads the version from the registry, not from the folder of this run: what is asked is what a service would
load.
"""

import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

from components.surroundings.causes import reason
from components.surroundings.masking import masked
from components.tracking import store
from elboflow.artifacts import child
from elboflow.artifacts.temporary import temporary_folder
from elboflow.settings import WorkError

if TYPE_CHECKING:
    import uvicorn

_PATIENCE = 600.0  # seconds for downloading the model, importing its framework and compiling its first answer
_LONGEST = 300  # characters of an answer in a message
_SERVER = "MLFLOW_TRACKING_URI"
_NOT_FETCHED = os.EX_TEMPFAIL  # the child's exit code where the version could not be fetched, and says nothing itself


def failure(tracking_uri: str, name: str, version: int) -> str | None:
    """Returns why a registered version does not answer; None if it does.

    Args:
        tracking_uri: The MLflow.
        name: Name of the registered model.
        version: The version.

    Raises:
        WorkError: It cannot be fetched from MLflow, as when the network fails: this says nothing about the version.
    """
    command = child.command("components.registry.canary", f"models:/{name}/{version}")
    environment = child.environment(**{_SERVER: tracking_uri})
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            env=environment,
            timeout=_PATIENCE,
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {_PATIENCE:.0f} s"
    why = child.reason(done.stderr, done.returncode) if done.returncode else None
    if done.returncode == _NOT_FETCHED:
        raise WorkError(f"version {version} of {name} was not decided on: it cannot be fetched to be served: {why}")
    return why


def main(uri: str, tracking_uri: str) -> str | None:
    """The child process: serves the model, asks it, and returns why the answer is none.

    Args:
        uri: `models:/NAME/VERSION`.
        tracking_uri: The MLflow.
    """
    with temporary_folder() as temporary, socket.socket() as listening:
        files = _fetched(uri, tracking_uri, temporary)
        import mlflow
        import uvicorn
        from mlflow.pyfunc import scoring_server

        request = (files / "serving_input_example.json").read_bytes()
        app = scoring_server.init(mlflow.pyfunc.load_model(str(files)))
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical"))
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        try:
            return _asked(server, listening.getsockname()[1], request)
        finally:
            server.should_exit = True
            thread.join()


def _fetched(uri: str, tracking_uri: str, to: Path) -> Path:
    """Returns the files of a version. Ends this process where MLflow cannot be asked for them."""
    from mlflow import MlflowException
    from mlflow.artifacts import download_artifacts

    try:
        store.use(tracking_uri)
        return Path(download_artifacts(uri, dst_path=str(to)))
    except FileNotFoundError:
        raise
    except Exception as error:  # each client of an object store raises its own classes
        if isinstance(error, MlflowException) and error.error_code == "RESOURCE_DOES_NOT_EXIST":
            raise
        print(masked(reason(error)), file=sys.stderr)
        sys.exit(_NOT_FETCHED)


def _asked(server: "uvicorn.Server", port: int, request: bytes) -> str | None:
    while not server.started:
        time.sleep(0.05)
    address = f"http://127.0.0.1:{port}/invocations"
    asked = urllib.request.Request(address, request, {"Content-Type": "application/json"})
    without_proxy = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with without_proxy.open(asked, timeout=_PATIENCE) as answer:
            content = answer.read().decode("utf-8", "replace")
    except urllib.error.HTTPError as error:
        return f"status {error.code}: {error.read().decode('utf-8', 'replace')[:_LONGEST]}"
    if not json.loads(content).get("predictions"):
        return f"an answer without predictions: {content[:_LONGEST]}"
    return None


if __name__ == "__main__":
    child.end_with_parent()
    try:
        sys.exit(main(sys.argv[1], os.environ[_SERVER]))
    except Exception as error:  # any failure to load or to serve is the result of the check
        sys.exit(f"{type(error).__name__}: {error}")
