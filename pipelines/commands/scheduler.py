"""`elboflow scheduler`: what runs the schedules of this machine."""

import signal
from typing import Annotated

import typer

from elboflow.settings import WorkError
from pipelines.commands import tracking
from pipelines.commands.options import DEFAULT_WORKSPACE, WorkspaceOption
from pipelines.commands.outcome import pasteable, show_log, tell


def scheduler(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    check: Annotated[
        bool, typer.Option("--check", help="Only tell whether one is at work: exit code 0, or 1 if not.")
    ] = False,
    max_runs: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Runs of all schedules that may be active at once; the others wait in line. By default one for every "
            "2 cores and 4 GiB of memory that this machine, or its container, may use.",
        ),
    ] = None,
    drain: Annotated[
        bool,
        typer.Option(
            "--drain",
            help="When it is stopped, launch nothing more and wait for the runs at work, which would end with it in a "
            "container; stopped once more, it ends at once.",
        ),
    ] = False,
    tracking_uri: tracking.LaunchedOption = None,
) -> None:
    """Run what the workspace's schedules say, until SIGTERM or Ctrl-C. The runs then at work go on."""
    from pipelines.workspace import open_to_write

    if check:
        from pipelines.schedules.heartbeat import holder, trouble

        folder = workspace.resolve()
        if (reason := trouble(folder)) is not None:
            raise WorkError(f"{reason}; start one: {pasteable('scheduler', '--workspace', workspace)}")
        tell(f"a scheduler is at work on {folder}: {holder(folder)}")
        return
    from pipelines.schedules.daemon import Daemon

    tracking.use(tracking_uri)
    place = open_to_write(workspace)
    show_log()
    with Daemon(place.folder, drain=drain, slots=max_runs) as daemon:
        for ending in (signal.SIGTERM, signal.SIGINT):
            signal.signal(ending, lambda number, frame: daemon.stop())
        daemon.run()
