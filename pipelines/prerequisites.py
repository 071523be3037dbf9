"""What a run on this machine needs before anything is started: its MLflow, its data, its backend."""

from collections.abc import Collection
from pathlib import Path

from pipelines.experiment import Experiment


def check_here(experiment: Experiment, workspace: Path, backends: Collection[str] = ()) -> None:
    """Checks what can be checked at once.

    Args:
        experiment: What is to run.
        workspace: The workspace's folder, which need not be there yet.
        backends: The backends of its trainings, if they are not that of the experiment alone.

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
    sources.check(experiment.data)
    checkpoints.folder(experiment.training.checkpoints)
    devices.require(experiment.training.device)
    for backend in backends or [experiment.training.backend]:
        check(backend)
