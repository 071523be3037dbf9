"""What MLflow keeps of a finished run: parameters, datasets, figures and report, the model, curves and test metrics.

Every write can be done twice with the effect of once, so that a registration that was killed is simply done again.
"""

import json
import logging
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from components.registry.finished import Finished
from components.registry.logged_model import log_model
from components.registry.versions import ENVIRONMENT, EVALUATION, LINEAGE
from components.surroundings.masking import masked, masked_values
from components.tracking import curves, pictures
from components.tracking.dataset_inputs import dataset_inputs
from components.tracking.parameters import log_params
from components.tracking.tables import log_table
from elboflow import artifacts
from elboflow.artifacts.temporary import temporary_folder
from elboflow.settings.text import counted
from elboflow.vae.evaluation import metrics as evaluation
from elboflow.vae.evaluation.folder import FIGURES, METRICS

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, Metric, Run

logger = logging.getLogger("elboflow.registry")
TEST = "test/"
"""The prefix of the metrics of the test split."""
_SHOWN = ("reconstructions", "samples")
"""The figures that the evaluators of images make, by the names of their files."""
_COLUMNS = ("metric", "value", "low", "high", "unit", "better", "meaning")


def of_test_split(measured: Mapping[str, float]) -> dict[str, float]:
    """Returns the metrics of the test split among those of a run, without the prefix.

    Until 0.2.0, a run had the ends of their intervals as metrics, too: `test/elbo_low` and `test/elbo_high`.
    """
    named = {name.removeprefix(TEST): value for name, value in measured.items() if name.startswith(TEST)}
    ends = {f"{name}{end}" for name in named for end in ("_low", "_high")}
    return {name: value for name, value in named.items() if name not in ends}


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
    _show_figures(client, run_id, finished)
    logger.info("recorded the evaluation in MLflow: %s", counted(len(finished.evaluated.metrics), "metric"))
    client.log_text(run_id, json.dumps(masked_values(experiment), indent=2) + "\n", f"{LINEAGE}/experiment.json")
    client.log_text(run_id, masked(finished.data.manifest.to_json()), f"{LINEAGE}/dataset.json")
    if had := finished.trained.provenance.environment:
        client.log_text(run_id, json.dumps(dict(had), indent=2) + "\n", f"{LINEAGE}/{ENVIRONMENT}")
    model_id = log_model(client, run, finished)
    curves.complete(client, run, finished.trained.curves)
    epochs = counted(len(finished.trained.curves["train"]["epoch"]), "epoch")
    logger.info("recorded the model, %s, and the curves of %s", model_id, epochs)
    client.log_batch(run_id, metrics=list(_test_metrics(run, finished, model_id, inputs[-1])))
    log_table(client, run_id, METRICS, _COLUMNS, [_row(*named) for named in finished.evaluated.metrics.items()])
    return model_id


def _show_figures(client: "MlflowClient", run_id: str, finished: Finished) -> None:
    """Shows figures of the test split among the pictures by epoch, at the epoch whose weights the model has."""
    epoch, has = finished.trained.best_epoch, pictures.stored(client, run_id)
    for name in _SHOWN:
        figure = finished.evaluated.path / FIGURES / f"{name}.png"
        if figure.is_file() and (f"{TEST}{name}", epoch) not in has:
            pictures.store(client, run_id, f"{TEST}{name}", epoch, figure)


def _test_metrics(run: "Run", finished: Finished, model_id: str, test: "DatasetInput") -> Iterator["Metric"]:
    from mlflow.entities import Metric

    for name, metric in finished.evaluated.metrics.items():
        yield Metric(
            f"{TEST}{name}",
            metric.value,
            run.info.start_time,
            0,  # not the best epoch: MLflow draws a bar for a metric that has no other step than 0, else an empty chart
            model_id=model_id,
            dataset_name=test.dataset.name,
            dataset_digest=test.dataset.digest,
            run_id=run.info.run_id,
        )


def _row(name: str, metric: evaluation.Metric) -> tuple[Any, ...]:
    return name, metric.value, metric.low, metric.high, metric.unit, metric.better, metric.meaning
