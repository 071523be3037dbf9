"""The MLflow run of a training by hand (`elboflow step train`), which the registration of its model takes over.

The training marks its MLflow run with a key of its own, and leaves that key in the folder of its checkpoints, for a
training that resumes, and then in that of its model, for the registration:

    mlflow.json    training: the key; identity: what it is a training of; finished: whether it is over
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from components.tracking import tags
from components.tracking.store import quoted
from elboflow import artifacts
from elboflow.settings import WorkError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

FILE = "mlflow.json"
LOCK = "at-work.lock"
"""Is locked, beside that file, while the training is at work (`liveness`)."""
TRAINING = "elboflow.training"


@dataclass(frozen=True)
class Note:
    """What a training leaves for a training that resumes it, and for the registration.

    Attributes:
        training: The key of its MLflow run.
        identity: The digest of all that it is a function of.
        finished: Whether it has made its model.
    """

    training: str
    identity: str
    finished: bool = False

    def write(self, folder: Path) -> None:
        """Leaves the note in a folder."""
        artifacts.write_atomically(folder / FILE, json.dumps(asdict(self)) + "\n")


_NOTE = TypeAdapter(Note)
_MOST_BYTES = 10_000


def note(folder: Path) -> Note | None:
    """Returns the note in a folder; None where there is none that can be read."""
    try:
        with artifacts.open_listed(folder, FILE) as file:
            return _NOTE.validate_json(file.read(_MOST_BYTES))
    except (OSError, ValueError, WorkError):
        return None


def of_training(client: "MlflowClient", experiment_id: str, key: str) -> "Run | None":
    """Returns the MLflow run of a training, by its key."""
    found = client.search_runs([experiment_id], f"tags.`{TRAINING}` = {quoted(key)}", max_results=1)
    return found[0] if found else None


def taken_over(client: "MlflowClient", experiment_id: str, run: str, model: Path) -> None:
    """Makes the MLflow run of a model's training that of a pipeline run, unless it belongs to another already."""
    left = note(model)
    found = None if left is None else of_training(client, experiment_id, left.training)
    if found is not None and found.data.tags.get(tags.RUN, run) == run:
        client.update_run(found.info.run_id, status="RUNNING", name=run)  # first: FINISHED means registered
        client.set_tag(found.info.run_id, tags.RUN, run)
