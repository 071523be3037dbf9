"""The MLflow run of a training by hand (`elboflow step train`), which the registration of its model takes over.

A training that resumes finds it by the tag `elboflow.training`, the registration by the digest of the weights.
"""

import platform
from pathlib import Path
from typing import TYPE_CHECKING

from components.tracking import tags
from components.tracking.store import quoted
from elboflow.settings.digest import digest

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

TRAINING = "elboflow.training"


def key(identity: str, saved: Path) -> str:
    """Returns what a training is known by: all that it is a function of, and where its checkpoints are."""
    return digest([identity, platform.node(), str(saved.absolute())])


def of_training(client: "MlflowClient", experiment_id: str, key: str) -> "Run | None":
    """Returns the MLflow run of a training that has not finished, by its key."""
    unfinished = f"tags.`{TRAINING}` = {quoted(key)} and attributes.status != 'FINISHED'"
    found = client.search_runs([experiment_id], unfinished, max_results=1)
    return found[0] if found else None


def take_over(client: "MlflowClient", experiment_id: str, run: str, weights: str) -> None:
    """Makes the MLflow run in which a model was trained that of a pipeline run, unless it is another's already."""
    trained = f"tags.`{TRAINING}` != '' and tags.`{tags.WEIGHTS}` = {quoted(weights)}"
    for found in client.search_runs([experiment_id], trained):
        if tags.RUN not in found.data.tags:
            client.update_run(found.info.run_id, status="RUNNING", name=run)  # first: FINISHED means registered
            client.set_tag(found.info.run_id, tags.RUN, run)
            return
