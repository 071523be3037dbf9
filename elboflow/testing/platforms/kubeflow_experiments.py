"""Kubeflow's experiments: created, listed and got."""

from typing import Any

from elboflow.testing.platforms.clock import now
from elboflow.testing.platforms.kubeflow_api import KubeflowAPI, new_id, strict, written
from elboflow.testing.platforms.messages import RefusedError, Reply, Request, answer
from elboflow.testing.platforms.wire import route


class Experiments(KubeflowAPI):
    """The experiments of the namespaces.

    Attributes:
        experiments: By their ids.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.experiments: dict[str, dict[str, Any]] = {}

    @route("POST", "/apis/v2beta1/experiments")
    def create_experiment(self, request: Request) -> Reply:
        """Makes an experiment."""
        body = strict("V2beta1Experiment", request.json())
        with self.creating:
            namespace = self.namespace(body.get("namespace"))
            if not body.get("display_name"):
                raise RefusedError(400, "Invalid input error: Experiment's name cannot be empty")
            if any(each["display_name"] == body["display_name"] for each in self.experiments.values()):
                raise RefusedError(409, f"Already exist error: The name {body['display_name']} already exist.")
            id = new_id()
            made = {**body, "experiment_id": id, "namespace": namespace, "created_at": written(now())}
            self.experiments[id] = {**made, "storage_state": "AVAILABLE"}
        return answer(self.experiments[id])

    @route("GET", "/apis/v2beta1/experiments/{id}")
    def get_experiment(self, request: Request, id: str) -> Reply:
        """Returns an experiment."""
        return answer(self.experiment(id))

    @route("GET", "/apis/v2beta1/experiments")
    def list_experiments(self, request: Request) -> Reply:
        """Lists experiments."""
        namespace = self.namespace(request.one("namespace"))
        found = [each for each in self.experiments.values() if each["namespace"] == namespace]
        return self.listed(request, "experiments", found, ("experiment_id", "display_name", "created_at", "namespace"))

    def experiment(self, id: str) -> dict[str, Any]:
        """Returns an experiment by its id."""
        if id not in self.experiments:
            raise RefusedError(404, f"Experiment {id} not found.")
        return self.experiments[id]
