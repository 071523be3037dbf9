"""What the steps of a local run find around them: their environment, a place for temporary files, an MLflow."""

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from components.surroundings.masking import without_userinfo
from elboflow.artifacts.temporary import temporary_folder
from elboflow.settings import RequestError
from elboflow.settings.locations import of_mlflow
from elboflow.settings.variables import CHECKPOINTS, MESSAGE_SECRET, RUN, TRACKING_URI
from pipelines.experiment import Experiment
from pipelines.step_process import messages
from pipelines.step_process.process import quieten
from pipelines.workspace import Workspace

logger = logging.getLogger("elboflow.targets")

TRACKING_URIS = (TRACKING_URI, "MLFLOW_TRACKING_URI")
"""The environment variables that name the MLflow of a machine; the first that is set counts."""

# Each is read by what it stands for: numpy's BLAS, PyTorch and oneDNN; TensorFlow; XLA's CPU client, for JAX.
THREADS = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "PJRT_NPROC")


def tracking_uri(experiment: Experiment | None, workspace: Workspace, option: str | None = None) -> str:
    """Returns the MLflow of a command on this machine: the one that is named, or else the workspace's own.

    Raises:
        RequestError: A variable holds no address of an MLflow.
    """
    return named_tracking_uri(experiment, option) or workspace.tracking_uri


def named_tracking_uri(experiment: Experiment | None = None, option: str | None = None) -> str | None:
    """Returns the MLflow that is named, the most specific first; None where none is.

    Args:
        experiment: The experiment, of which `targets.local.tracking_uri` counts before the variables.
        option: The command's --tracking-uri, which counts before all.

    Raises:
        RequestError: A variable holds no address of an MLflow.
    """
    if named := option or (experiment and experiment.targets.local.tracking_uri):
        return named
    for variable in TRACKING_URIS:
        if uri := os.environ.get(variable):
            try:
                return of_mlflow(uri)
            except ValueError as error:
                raise RequestError(f"{variable}: {error}") from None
    return None


def return_to(recorded: str | None, experiment: Experiment, workspace: Workspace) -> None:
    """Has this process use the MLflow that a run was recorded in before, unless it would use that one anyway.

    Args:
        recorded: Its address, without user and password; None for the workspace's own.
        experiment: The run's experiment.
        workspace: The run's workspace.
    """
    recorded = recorded or workspace.tracking_uri
    if without_userinfo(tracking_uri(experiment, workspace)) != recorded:
        os.environ[TRACKING_URI] = recorded


def threads(experiment: Experiment) -> dict[str, str]:
    """Returns the environment variables that hold the steps to the threads that the experiment allows."""
    count = experiment.targets.local.threads
    return {} if count is None else dict.fromkeys(THREADS, str(count))


def limit_threads(experiment: Experiment) -> None:
    """Holds this process to the threads that the experiment allows, if no framework has been imported yet."""
    os.environ.update(threads(experiment))


def bytes_of(amount: str) -> int:
    """Returns what an amount such as 4Gi is in bytes."""
    unit = amount.lstrip("0123456789.")
    return int(float(amount.removesuffix(unit)) * (1024 if unit.endswith("i") else 1000) ** (" MGT".index(unit[0]) + 1))


def available_memory(meminfo: Path = Path("/proc/meminfo")) -> int | None:
    """Returns the bytes of memory that are free, or can be freed, on this machine.

    macOS does not tell: there it is all that the machine has. None where the system does not say.
    """
    try:
        if meminfo.exists() and (
            found := re.search(r"(?m)^MemAvailable:\s+(\d+) kB$", meminfo.read_text(encoding="utf-8"))
        ):
            return 1024 * int(found[1])
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return None


def _say_what_memory_is_short(experiment: Experiment) -> None:
    needed, available = experiment.targets.local.memory, available_memory()
    if needed is not None and available is not None and available < bytes_of(needed):
        logger.warning(
            "targets.local.memory is %s, and this machine has %.1f GiB to spare: steps may be slow, or be killed",
            needed,
            available / 2**30,
        )


@contextmanager
def surroundings(experiment: Experiment, workspace: Workspace, training: str | None) -> Iterator[str]:
    """Sets the environment that steps inherit, and says so where memory is short.

    Temporary files of steps get a folder that goes with the run.

    Args:
        workspace: The workspace, where the training of a run saves its checkpoints.
        training: The name of a run that trains once, under which its training shows curves in MLflow; None for others.

    Yields:
        The key with which the steps sign their messages to the run.
    """
    _say_what_memory_is_short(experiment)
    before = dict(os.environ)
    quieten()
    limit_threads(experiment)
    os.environ[MESSAGE_SECRET] = key = messages.new_key()
    if training is not None:
        os.environ |= {RUN: training, CHECKPOINTS: str(workspace.checkpoints)}
    os.environ["PYTHONSAFEPATH"] = "1"  # a folder `artifacts` where the run was started is not the package of that name
    with temporary_folder() as temporary:
        os.environ["TMPDIR"] = str(temporary)
        try:
            yield key
        finally:
            os.environ.clear()
            os.environ.update(before)
