"""Kubeflow's own runs in MLflow: one for a pipeline run, and below it one for each task.

As https://github.com/kubeflow/pipelines/tree/master/proposals/12862-mlflow-integration says.
"""

import json
import time
import urllib.request
from dataclasses import asdict, dataclass
from typing import Any

_ENDED = {"succeeded": "FINISHED", "failed": "FAILED", "cancelled": "KILLED"}


@dataclass(frozen=True)
class Recorded:
    """A run in MLflow.

    Attributes:
        uri: The MLflow.
        experiment_id: The experiment.
        run_id: The run.
    """

    uri: str
    experiment_id: str
    run_id: str

    def below(self, name: str) -> "Recorded":
        """Makes the run of a task."""
        return _made(self.uri, self.experiment_id, name, self.run_id)

    def end(self, state: str) -> None:
        """Ends the run: succeeded, failed or cancelled."""
        ended = {"run_id": self.run_id, "status": _ENDED[state], "end_time": round(1000 * time.time())}
        _ask(self.uri, "runs/update", ended)

    def variables(self, pod: str) -> dict[str, str]:
        """Returns what the container of the task is told."""
        told = {"TRACKING_URI": self.uri, "EXPERIMENT_ID": self.experiment_id, "RUN_ID": self.run_id}
        return {**{f"MLFLOW_{name}": value for name, value in told.items()}, "KFP_POD_NAME": pod}

    def json(self) -> dict[str, str]:
        """Returns it as JSON values."""
        return asdict(self)


def begun(uri: str, name: str) -> Recorded:
    """Makes the run of a pipeline run, in the experiment `Default`."""
    return _made(uri, "0", name)


def _made(uri: str, experiment_id: str, name: str, parent: str = "") -> Recorded:
    tags = [{"key": "mlflow.parentRunId", "value": parent}] if parent else []
    body = {"experiment_id": experiment_id, "run_name": name, "start_time": round(1000 * time.time()), "tags": tags}
    return Recorded(uri, experiment_id, _ask(uri, "runs/create", body)["run"]["info"]["run_id"])


def _ask(uri: str, path: str, body: Any) -> Any:
    url, headers = f"{uri}/api/2.0/mlflow/{path}", {"Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode(), headers), timeout=30) as answer:
        return json.load(answer)
