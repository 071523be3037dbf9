"""`elboflow ui`: MLflow's own pages on the workspace, or the address of the server that holds the runs."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from elboflow.settings import RequestError, WorkError
from pipelines.commands import tracking, workspaces
from pipelines.commands.options import DEFAULT_WORKSPACE, WorkspaceOption
from pipelines.commands.outcome import pasteable, show_log, tell

HOST = "127.0.0.1"
ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def ui(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Where to listen; who reaches it can change everything there.")
    ] = HOST,
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port to listen on.")] = 5000,
    tracking_uri: tracking.StoreOption = None,
) -> None:
    """Open the MLflow UI on the workspace, until Ctrl-C. Where a server holds the runs, its address is printed."""
    import socket

    from components.surroundings.masking import masked, without_userinfo
    from components.tracking import databases, readable, relocation
    from pipelines.targets.local.surroundings import named_tracking_uri

    place = workspaces.found(workspace)
    named = named_tracking_uri(option=tracking_uri)
    if named is not None and named.startswith(("http://", "https://")):
        tell("the runs are in an MLflow server, which has these pages:")
        print(without_userinfo(named))
        return
    file = databases.file_of(named or place.tracking_uri)
    if file is not None and not file.is_file():
        raise RequestError(f"{workspace if named is None else named} holds no MLflow yet; `elboflow run` makes one")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise RequestError(
                f"{host}:{port} cannot be listened on: {error.strerror}; choose another with --host or --port"
            ) from None
    show_log()
    if file is None:
        assert named is not None
        tell(f"MLflow on {masked(named)}, until Ctrl-C:")
        _serve(named, place.model_files, host, port)
        return
    with readable.database(file) as database:
        if database != file:
            tell(f"{file.parent} cannot be written to: what is changed in these pages is lost when they are closed")
        tell(f"MLflow on {file.parent}, until Ctrl-C:")
        _serve(databases.uri_of(database), file.parent / relocation.ARTIFACTS, host, port)


def pages(mlflow: Mapping[str, Any], workspace: Path) -> list[str]:
    """Returns where a person sees what a run has registered, a line each.

    Args:
        mlflow: The registration: tracking_uri, run_id, model and version.
    """
    from components.tracking import databases
    from components.tracking.pages import pages_of

    if of_server := pages_of(mlflow):
        return of_server
    server = str(mlflow["tracking_uri"])
    file = databases.file_of(server)
    own = file is not None and file.parent == workspace.resolve()
    words = ("--workspace", workspace) if own else ("--tracking-uri", server)
    return [f"MLflow: {pasteable('ui', *words)}"]


def _serve(store: str, artifacts: Path, host: str, port: int) -> None:
    from elboflow.artifacts import child

    command = child.command("mlflow", "server", "--host", host, "--port", str(port), "--workers", "1")
    command += ["--backend-store-uri", store, "--artifacts-destination", str(artifacts)]
    print(f"http://{host}:{port}", flush=True)
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
            code = child.waited(server)
        except KeyboardInterrupt as interrupt:
            if interrupt.args:
                raise  # by a signal, which the exit code tells
            return
        finally:
            child.end_group(server, patience=10.0)

    raise WorkError(f"the MLflow server ended with exit code {code}")


def _take_signals() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDINGS)
