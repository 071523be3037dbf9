"""What MLflow keeps of a finished run: parameters, datasets, figures and report, the model, curves and test metrics.

Every write can be done twice with the effect of once, so that a registration that was killed is simply done again.
"""

import json
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from components.registry.finished import Finished
from components.registry.logged_model import log_model
from components.registry.versions import EVALUATION
from components.surroundings.masking import masked, masked_values
from components.tracking import curves
from components.tracking.dataset_inputs import dataset_inputs
from components.tracking.parameters import log_params
from elboflow import artifacts
from elboflow.artifacts.temporary import temporary_folder
from elboflow.settings.text import counted

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, Metric, Run

logger = logging.getLogger("elboflow.registry")
TEST = "test/"
"""The prefix of the metrics of the test split."""


def record(client: "MlflowClient", run: "Run", finished: Finished, experiment: dict[str, Any]) -> str:
    """Writes everything about a finished run into its MLflow run.

    Returns:
        The id of the logged model.
    """
    run_id = run.info.run_id
    if run.info.status == "FINISHED":  # the last thing that is written, after the decision on the version
        return run.outputs.model_outputs[0].model_id
    log_params(client, run_id, experiment)
    inputs = dataset_inputs(finished.data, experiment["name"])
    client.log_inputs(run_id, inputs)
    with temporary_folder() as temporary:
        artifacts.copy(finished.evaluated.path, "evaluation", temporary)
        client.log_artifacts(run_id, str(temporary), EVALUATION)
    logger.info("recorded the evaluation in MLflow: %s", counted(len(finished.evaluated.metrics), "metric"))
    client.log_text(run_id, json.dumps(masked_values(experiment), indent=2) + "\n", "experiment.json")
    client.log_text(run_id, masked(finished.data.manifest.to_json()), "dataset.json")
    model_id = log_model(client, run, finished)
    curves.complete(client, run, finished.trained.curves)
    epochs = counted(len(finished.trained.curves["train"]["epoch"]), "epoch")
    logger.info("recorded the model, %s, and the curves of %s", model_id, epochs)
    client.log_batch(run_id, metrics=list(_test_metrics(run, finished, model_id, inputs[-1])))
    return model_id


def _test_metrics(run: "Run", finished: Finished, model_id: str, test: "DatasetInput") -> Iterator["Metric"]:
    from mlflow.entities import Metric

    for name, metric in finished.evaluated.metrics.items():
        for suffix, value in {"": metric.value, "_low": metric.low, "_high": metric.high}.items():
            yield Metric(
                f"{TEST}{name}{suffix}",
                value,
                run.info.start_time,
                finished.trained.best_epoch,
                model_id=model_id,
                dataset_name=test.dataset.name,
                dataset_digest=test.dataset.digest,
                run_id=run.info.run_id,
            )
