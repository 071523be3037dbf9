"""The folder of a training's checkpoints."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from elboflow.artifacts import lock
from elboflow.settings import RequestError
from elboflow.settings.locations import scheme
from elboflow.settings.variables import CHECKPOINTS
from elboflow.vae.config import Checkpoints

FOLDER = "checkpoints"
_BUCKETS, _MOUNTED = "gs://", Path("/gcs")  # Vertex AI shows buckets to its machines as folders


@contextmanager
def place(output: Path, fingerprint: str, settings: Checkpoints) -> Iterator[Path]:
    """Gives a training the folder of its checkpoints: in its model folder, or in the folder of all trainings.

    In a workspace, the first of two equal trainings at once has the folder of their fingerprint, in which a later one
    resumes; the second saves in its model folder.

    Args:
        output: The model folder.
        fingerprint: The digest of all that the training is a function of (`elboflow.vae.training.fingerprint`).
        settings: Where trainings are to save.

    Raises:
        RequestError: `training.checkpoints.folder` is a bucket's URI where no buckets are mounted.
    """
    if (shared := folder(settings)) is not None:
        yield shared / fingerprint[:32]
    elif (of_workspace := os.environ.get(CHECKPOINTS)) is None:
        yield output / FOLDER
    else:
        named = Path(of_workspace) / fingerprint[:32]
        named.parent.mkdir(parents=True, exist_ok=True)
        with ExitStack() as locks:
            try:
                locks.enter_context(lock.exclusive(named.with_name(f"{named.name}.lock")))
            except BlockingIOError:
                named = output / FOLDER
            yield named


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
