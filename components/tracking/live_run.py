"""The MLflow run of a training's curves, until the pipeline run that the training belongs to adopts it.

A training on a platform does not know its pipeline run: the run's name, as an input, would make each training new to
the platform's cache. It marks its MLflow run with a key of its own, and leaves that key in the folder of its
checkpoints, for a training that goes on, and then in that of its model, for the registration:

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
"""Is locked, beside that file, while the training or the sending of its curves is at work (`liveness`)."""
TRAINING, OUTPUT = "elboflow.training", "elboflow.output"


@dataclass(frozen=True)
class Note:
    """What a training leaves for a training that continues it, and for the registration.

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


def adopted(client: "MlflowClient", experiment_id: str, run: str, model: Path) -> "Run | None":
    """Returns the run in which a model was trained as that of a pipeline run, unless it is another's already."""
    left = note(model)
    found = None if left is None else of_training(client, experiment_id, left.training)
    return None if found is None else _taken(client, found, run)


def adopted_of_job(client: "MlflowClient", experiment_id: str, run: str, job: str) -> "Run | None":
    """Returns the run of a pipeline run's training that did not come to its registration.

    It is known by where its model was to go: Vertex AI keeps what a run writes under its name, Kubeflow under its id.

    Args:
        client: A client.
        experiment_id: The MLflow experiment.
        run: Name of the pipeline run.
        job: The platform's id of it.
    """
    for place in (job, run):
        below = f"tags.`{OUTPUT}` LIKE {quoted(f'%/{place}/%')}"
        for found in client.search_runs([experiment_id], below, order_by=["attributes.start_time DESC"]):
            if taken := _taken(client, found, run):
                return taken
    return None


def _taken(client: "MlflowClient", found: "Run", run: str) -> "Run | None":
    if found.data.tags.get(tags.RUN, run) != run:
        return None
    run_id = found.info.run_id
    client.update_run(run_id, status="RUNNING", name=run)  # before it bears the name: FINISHED means registered there
    client.set_tag(run_id, tags.RUN, run)
    taken = client.get_run(run_id)
    return taken if taken.data.tags[tags.RUN] == run else None  # two may have come for a model that both reuse
