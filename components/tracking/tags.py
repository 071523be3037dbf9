"""The tags of a pipeline run's MLflow run, by which it is found again."""

import getpass
import os

EXPERIMENT, RUN, CODE = "elboflow.experiment", "elboflow.run", "elboflow.code"
DATASET, CONFIG, WEIGHTS = "elboflow.dataset", "elboflow.config", "elboflow.weights"
KINDS = "elboflow.kinds"
STEP, FAILURE, LINK = "elboflow.step", "elboflow.failure", "elboflow.link"
JOB = "elboflow.job"
"""The platform's id of a run, if it is another than its name."""


def source() -> dict[str, str]:
    """Returns MLflow's own tags of a run: the user, and the program that made it."""
    return {"mlflow.user": _user(), "mlflow.source.name": "elboflow", "mlflow.source.type": "LOCAL"}


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container may run under a number that has no name
        return str(os.getuid())
