"""The model of a finished run as MLflow's logged model, which a version then points to."""

from typing import TYPE_CHECKING

from components.registry.finished import Finished
from components.registry.packaging import EXAMPLES, package
from components.tracking import tags
from components.tracking.store import quoted
from elboflow.artifacts.temporary import temporary_folder

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

MODEL = "model"


def log_model(client: "MlflowClient", run: "Run", finished: Finished) -> str:
    """Logs the model of a finished run, unless that is done; one that a killed registration left is removed.

    Returns:
        The id of the logged model, which is READY and an output of the run.
    """
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus

    run_id = run.info.run_id
    ready = None
    for logged in client.search_logged_models([run.info.experiment_id], f"source_run_id = {quoted(run_id)}"):
        if logged.status == LoggedModelStatus.READY:
            ready = logged.model_id
        else:
            client.delete_logged_model(logged.model_id)
    if ready is None:
        ready = _logged(client, run, finished)
    linked = run.outputs.model_outputs if run.outputs else []
    if ready not in [output.model_id for output in linked]:
        client.log_outputs(run_id, [LoggedModelOutput(ready, step=0)])
    return ready


def _logged(client: "MlflowClient", run: "Run", finished: Finished) -> str:
    from mlflow.models import Model

    run_id = run.info.run_id
    weights = {tags.WEIGHTS: finished.trained.weights}
    logged = client.create_logged_model(run.info.experiment_id, MODEL, run_id, weights, model_type="VAE")
    identity = Model(
        artifact_path=logged.artifact_location, model_uuid=logged.model_id, run_id=run_id, model_id=logged.model_id
    )
    with temporary_folder() as temporary:
        package(finished.trained, finished.data.head("test", EXAMPLES), temporary / MODEL, identity)
        client.log_model_artifacts(logged.model_id, str(temporary / MODEL))
    ready: str = client.finalize_logged_model(logged.model_id, "READY").model_id
    return ready
