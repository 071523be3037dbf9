"""Where a training's checkpoints lie."""

from pathlib import Path

from settings import RequestError
from vae.config import Checkpoints

FOLDER = "checkpoints"
_BUCKETS, _MOUNTED = "gs://", Path("/gcs")  # Vertex AI shows buckets to its machines as folders


def place(output: Path, identity: str, settings: Checkpoints) -> Path:
    """Returns the folder of a training's checkpoints: in its model folder, or in the folder of all trainings.

    Args:
        output: The model folder.
        identity: The digest of all that the training is a function of (`vae.training.identity`).
        settings: Where trainings are to save.

    Raises:
        RequestError: `training.checkpoints.folder` is a bucket's URI where no buckets are mounted.
    """
    if settings.folder is None:
        return output / FOLDER
    folder = Path(settings.folder)
    if "://" in settings.folder:
        if not (settings.folder.startswith(_BUCKETS) and _MOUNTED.is_dir()):
            raise RequestError(
                f"training.checkpoints.folder is {settings.folder}, which this machine does not see as a folder; "
                "mount the bucket or the volume, and give the path where it is mounted"
            )
        folder = _MOUNTED / settings.folder.removeprefix(_BUCKETS)
    return folder / identity[:32]
