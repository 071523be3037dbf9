"""The workspace of a command. Opening it records the end of runs that were killed."""

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipelines.experiment import Experiment
    from pipelines.workspace import Workspace


def found(folder: Path) -> "Workspace":
    """Returns a workspace to read from. Nothing is made; what cannot be written stays as it is."""
    from pipelines.targets.local import dead
    from pipelines.workspace import Workspace

    workspace = Workspace(folder.resolve())
    dead.end(workspace)
    return workspace


def made(folder: Path, experiment: "Experiment | None" = None) -> "Workspace":
    """Returns a workspace to write into, made if need be.

    Raises:
        RequestError: It cannot be written to.
    """
    from pipelines.targets.local import dead
    from pipelines.targets.local.surroundings import tracking_uri
    from pipelines.workspace import open_to_write

    workspace = open_to_write(folder)
    dead.end(workspace, None if experiment is None else tracking_uri(experiment, workspace))
    return workspace


def check_here(experiment: "Experiment", workspace: Path, backends: Collection[str] = ()) -> None:
    """Checks what a run on this machine needs before anything is started: its MLflow, its data, its backends.

    Raises:
        RequestError: Something is missing.
        WorkError: The MLflow of the workspace is damaged.
    """
    from components.surroundings import checkpoints
    from components.tracking import preflight
    from elboflow.vae.compute import check, devices
    from pipelines.targets.local.surroundings import tracking_uri
    from pipelines.workspace import Workspace
    from preprocessing import sources

    preflight.check(tracking_uri(experiment, Workspace(workspace.resolve())), experiment.name)
    if experiment.date is not None or not experiment.data.source.is_dated:  # a schedule reads data that are to come
        sources.check(experiment.data_of_date)
    checkpoints.folder(experiment.training.checkpoints)
    devices.require(experiment.training.device)
    for backend in backends or [experiment.training.backend]:
        check(backend)
