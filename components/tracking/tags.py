"""The tags of a pipeline run's MLflow run, by which it is found again."""

import getpass
import os
import re
from collections.abc import Mapping
from typing import Any

from components.surroundings.masking import masked
from components.tracking.limits import LONGEST_TAG, shortened
from preprocessing import dates

EXPERIMENT, RUN, CODE = "elboflow.experiment", "elboflow.run", "elboflow.code"
DATASET, CONFIG, WEIGHTS = "elboflow.dataset", "elboflow.config", "elboflow.weights"
KINDS = "elboflow.kinds"
TRIAL = "elboflow.trial"
STEP, FAILURE, LINK = "elboflow.step", "elboflow.failure", "elboflow.link"
DATE = "elboflow.date"
"""The date of the data, where their locations have one."""
JOB = "elboflow.job"
"""The platform's id of a run, if it is another than its name."""

PARENT = "mlflow.parentRunId"


def source() -> dict[str, str]:
    """Returns MLflow's own tags of a run: the user, and the program that made it."""
    return {"mlflow.user": _user(), "mlflow.source.name": "elboflow", "mlflow.source.type": "LOCAL"}


def of_experiment(experiment: Mapping[str, Any], date: str | None) -> dict[str, str]:
    """Returns the tags that an experiment names for its runs, and the one of their date.

    Args:
        experiment: What `Experiment.recorded()` returns. `{date}` in its tags is replaced.
        date: The date of a run's data; None where they have none, or where it is not known: tags with one are left out.
    """
    named: Mapping[str, str] = experiment.get("tags", {})
    if date is not None:
        named = {**{key: dates.at(text, dates.read(date)) for key, text in named.items()}, DATE: date}
    return {key: shortened(masked(text), LONGEST_TAG) for key, text in named.items() if not dates.is_dated(text)}


def commit(code: str | None) -> dict[str, str]:
    """Returns MLflow's own tag of the commit that a code version names; none where it names no commit."""
    found = re.match("[0-9a-f]{40}(?![0-9a-f])", code or "")
    return {"mlflow.source.git.commit": found[0]} if found else {}


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container may run under a number that has no name
        return str(os.getuid())
