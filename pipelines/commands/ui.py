"""`elboflow ui`: MLflow's own pages on the workspace."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from pipelines.commands import workspaces
from pipelines.commands.options import DEFAULT_WORKSPACE, WorkspaceOption
from pipelines.commands.outcome import show_log, tell

HOST = "127.0.0.1"
ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def ui(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port to listen on.")] = 5000,
) -> None:
    """Open the MLflow UI on the workspace, until Ctrl-C."""
    import socket

    from components.tracking import databases, readable
    from elboflow.settings import RequestError

    place = workspaces.found(workspace)
    if not place.database.is_file():
        raise RequestError(f"{workspace} holds no MLflow yet ({place.database.name}); `elboflow run` makes one")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise RequestError(
                f"port {port} cannot be listened on: {error.strerror}; choose another with --port"
            ) from None
    show_log()
    with readable.database(place.database) as database:
        if database != place.database:
            tell(f"{place.folder} cannot be written to: what is changed in these pages is lost when they are closed")
        tell(f"MLflow on {place.folder}, until Ctrl-C:")
        _serve(databases.uri_of(database), place.model_files, port)


def _serve(store: str, artifacts: Path, port: int) -> None:
    command = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", store, "--artifacts-destination", str(artifacts)]
    print(f"http://{HOST}:{port}", flush=True)
    # Jobs are for what language models are judged with; their workers are half a dozen processes.
    quiet = {"MLFLOW_LOGGING_LEVEL": "WARNING", "MLFLOW_DISABLE_TELEMETRY": "true", **os.environ}
    quiet.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
    # A signal while the server starts would leave it to itself: it waits until there is a server to end.
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDINGS)
    with subprocess.Popen(
        command, stdout=sys.stderr, start_new_session=True, env=quiet, preexec_fn=_take_signals
    ) as server:
        try:
            _take_signals()
            code = server.wait()
        except KeyboardInterrupt as interrupt:
            if interrupt.args:
                raise  # by a signal, which the exit code tells
            return
        finally:
            _end(server)
    from elboflow.settings import WorkError

    raise WorkError(f"the MLflow server ended with exit code {code}")


def _take_signals() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDINGS)


def _end(server: "subprocess.Popen[bytes]", patience: float = 10) -> None:
    """Ends a server with all its workers, which are the processes of its group."""
    for way in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(server.pid, way)
        with suppress(subprocess.TimeoutExpired):
            server.wait(patience)
