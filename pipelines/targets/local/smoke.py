"""Where `run --smoke` leaves what it makes: a workspace of its own below the workspace, which the next one removes."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from elboflow.artifacts import lock
from elboflow.settings.variables import TRACKING_URI
from pipelines.targets.local.client import new_name
from pipelines.workspace import Workspace, open_to_write

FOLDER = "smoke"
"""The folder of smoke runs in a workspace."""
_XLA = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
"""XLA's flags in a smoke run, which compiles longer than it computes."""


@contextmanager
def workspace(folder: Path, experiment: str) -> Iterator[Workspace]:
    """Yields the workspace of a smoke run; its MLflow is that of this process, whatever the environment names.

    Those of earlier smoke runs are removed, unless they are at work.

    Args:
        folder: The workspace that it is made in.
        experiment: The experiment's name.

    Raises:
        RequestError: The folder cannot be written to.
    """
    below = folder.resolve() / FOLDER
    place = open_to_write(below / new_name(experiment))
    at_work = lock.hold(place.folder)
    before = dict(os.environ)
    try:
        for earlier in below.iterdir():
            if earlier != place.folder and not lock.is_held(earlier):
                shutil.rmtree(earlier, ignore_errors=True)
        os.environ[TRACKING_URI] = place.tracking_uri
        os.environ.setdefault("XLA_FLAGS", _XLA)
        yield place
    finally:
        os.environ.clear()
        os.environ.update(before)
        if at_work is not None:
            os.close(at_work)
