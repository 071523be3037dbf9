"""What a run on this machine needs before anything is started: its data, the place of its checkpoints, its backend."""

from collections.abc import Collection

from pipelines.experiment import Experiment


def check_here(experiment: Experiment, backends: Collection[str] = ()) -> None:
    """Checks what can be checked at once.

    Args:
        experiment: What is to run.
        backends: The backends of its trainings, if they are not that of the experiment alone.

    Raises:
        RequestError: Something is missing.
    """
    from components import checkpoints
    from preprocessing import sources
    from vae.backends import check

    sources.check(experiment.data)
    checkpoints.folder(experiment.training.checkpoints)
    for backend in backends or [experiment.training.backend]:
        check(backend)
