"""The folder of a training's checkpoints."""

import os
from pathlib import Path

from elboflow.artifacts import lock
from elboflow.settings import RequestError
from elboflow.settings.locations import scheme
from elboflow.vae.config import Checkpoints

CHECKPOINTS = "ELBOFLOW_CHECKPOINTS"
"""The environment variable with the folder of all trainings of a workspace, unless the experiment names one."""
FOLDER = "checkpoints"
_BUCKETS, _MOUNTED = "gs://", Path("/gcs")  # Vertex AI shows buckets to its machines as folders


def place(output: Path, fingerprint: str, settings: Checkpoints) -> Path:
    """Returns the folder of a training's checkpoints: in its model folder, or in the folder of all trainings.

    Args:
        output: The model folder.
        fingerprint: The digest of all that the training is a function of (`elboflow.vae.training.fingerprint`).
        settings: Where trainings are to save.

    Raises:
        RequestError: `training.checkpoints.folder` is a bucket's URI where no buckets are mounted.
    """
    shared = folder(settings)
    if shared is None and (of_workspace := os.environ.get(CHECKPOINTS)):
        from elboflow.vae.training.lock import LOCK  # imports a framework

        # The same training twice at once: the second saves beside its model.
        named = Path(of_workspace) / fingerprint[:32]
        return output / FOLDER if lock.is_held(named / LOCK) else named
    return output / FOLDER if shared is None else shared / fingerprint[:32]


def folder(settings: Checkpoints) -> Path | None:
    """Returns the folder of all trainings, as this machine sees it; None where each saves in its model folder.

    Raises:
        RequestError: It is a bucket's URI where no buckets are mounted.
    """
    if settings.folder is None:
        return None
    if scheme(settings.folder) is None:
        return Path(settings.folder)
    if not _MOUNTED.is_dir():
        raise RequestError(
            f"training.checkpoints.folder is {settings.folder}, which this machine does not see as a folder; "
            "mount the bucket or the volume, and give the path where it is mounted"
        )
    return _MOUNTED / settings.folder.removeprefix(_BUCKETS)
