"""What a registration that is a step of a local run is told of its run, and tells where it fails."""

import json
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager

from elboflow.artifacts import DamagedError
from elboflow.settings import WorkError
from elboflow.settings.variables import RUN_PROCESS, STEP_SECONDS


def seconds_before() -> dict[str, float]:
    """Returns how long the earlier steps of the run took, by name; nothing on a platform, which knows it itself."""
    found: dict[str, float] = json.loads(os.environ.get(STEP_SECONDS, "{}"))
    return found


@contextmanager
def registrable(dataset: str, model: str, evaluation: str, run: str) -> Iterator[None]:
    """Lets a registration on this machine whose MLflow fails say how to do it again: the folders are finished.

    Raises:
        WorkError: The registration's, with the command.
    """
    try:
        yield
    except DamagedError:
        raise
    except WorkError as error:
        if RUN_PROCESS not in os.environ:
            raise
        folders = shlex.join(["--dataset", dataset, "--model", model, "--evaluation", evaluation, "--run", run])
        raise WorkError(
            f"{error}\nwhat the run has made is finished; to register it: elboflow step register EXPERIMENT {folders}"
        ) from error
