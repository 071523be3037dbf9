"""What the steps of a local run find around them: their environment, a place for temporary files, an MLflow."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from pipelines.experiment import Experiment
from pipelines.process import RUN_PROCESS, quieten
from pipelines.workspace import Workspace

TRACKING_URI = "ELBOFLOW_TRACKING_URI"
"""The environment variable that names the MLflow of all local runs on a machine."""

# Each is read by what it stands for: numpy's BLAS, PyTorch and oneDNN; TensorFlow; XLA's CPU client, for JAX.
THREADS = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "PJRT_NPROC")


def tracking_uri(experiment: Experiment, workspace: Workspace) -> str:
    """Returns the MLflow that an experiment's local runs register with."""
    return experiment.targets.local.tracking_uri or os.environ.get(TRACKING_URI) or workspace.tracking_uri


def threads(experiment: Experiment) -> dict[str, str]:
    """Returns the environment variables that hold the steps to the threads that the experiment allows."""
    count = experiment.targets.local.threads
    return {} if count is None else dict.fromkeys(THREADS, str(count))


@contextmanager
def surroundings(experiment: Experiment) -> Iterator[None]:
    """Sets the environment that steps inherit. KFP leaves temporary files behind: they get a folder that goes with the
    run."""
    before = dict(os.environ)
    quieten()
    os.environ.update(threads(experiment))
    os.environ[RUN_PROCESS] = str(os.getpid())
    os.environ["PYTHONSAFEPATH"] = "1"  # a folder `artifacts` where the run was started is not the package of that name
    with tempfile.TemporaryDirectory(prefix="elboflow-", ignore_cleanup_errors=True) as temporary:
        os.environ["TMPDIR"] = temporary
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)
