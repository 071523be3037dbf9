"""What MLflow keeps of a run: parameters, curves, metrics, figures, report, dataset, and the model itself.

Everything here can be done twice with the effect of once, so that a registration that was killed is simply done again.
"""

import getpass
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from components.binding.datasets import ImageDataset
from components.registry.packaging import package
from components.surroundings.masking import masked, masked_values
from components.tracking.store import quoted
from elboflow import artifacts
from elboflow.artifacts.temporary import temporary_folder
from elboflow.settings import RequestError
from elboflow.vae.evaluation.folder import EvaluationFolder
from elboflow.vae.folder import ModelFolder
from preprocessing.manifest import Image, Manifest

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, Metric, Run

EXPERIMENT, RUN, CODE = "elboflow.experiment", "elboflow.run", "elboflow.code"
DATASET, CONFIG, WEIGHTS = "elboflow.dataset", "elboflow.config", "elboflow.weights"
STEP, FAILURE, LINK = "elboflow.step", "elboflow.failure", "elboflow.link"
EVALUATION = "evaluation"
MODEL = "model"

T = TypeVar("T")

# MLflow's own limits (mlflow.utils.validation).
_LONGEST_PARAM = 6000
METRICS_PER_CALL = 1000
_PARAMS_PER_CALL = 100
_LONGEST_DIGEST = 36


@dataclass(frozen=True)
class Finished:
    """What the steps before made.

    Attributes:
        images: The dataset.
        trained: The model folder.
        evaluated: The evaluation folder.
    """

    images: ImageDataset
    trained: ModelFolder
    evaluated: EvaluationFolder


def run_of(client: "MlflowClient", experiment_id: str, run: str, tags: dict[str, str]) -> "Run":
    """Returns the MLflow run of a pipeline run, which is made where there is none.

    Raises:
        RequestError: There is one, of another model.
    """
    from mlflow.entities import RunTag

    found = find(client, experiment_id, run)
    if found is None:
        return begin(client, experiment_id, run, tags)
    has, run_id = found.data.tags, found.info.run_id
    if has.get(WEIGHTS, tags[WEIGHTS]) != tags[WEIGHTS]:
        raise RequestError(
            f"the run {run!r} was registered with another model (MLflow run {run_id}); "
            "register this one under a run name of its own: elboflow step register --run NAME"
        )
    # It may have failed before it had a model, and have been tried again; or be the parent of a sweep.
    if lacking := [RunTag(name, value) for name, value in tags.items() if has.get(name) != value]:
        client.log_batch(run_id, tags=lacking)
    return found


def find(client: "MlflowClient", experiment_id: str, run: str) -> "Run | None":
    """Returns the MLflow run of a pipeline run, if there is one."""
    found = client.search_runs([experiment_id], f"tags.`{RUN}` = {quoted(run)}", max_results=1)
    return found[0] if found else None


def begin(
    client: "MlflowClient", experiment_id: str, run: str, tags: dict[str, str], began: int | None = None
) -> "Run":
    """Makes the MLflow run of a pipeline run, which began now or at a time in milliseconds."""
    return client.create_run(experiment_id, start_time=began, run_name=run, tags={**source_tags(), **tags, RUN: run})


def source_tags() -> dict[str, str]:
    """Returns MLflow's own tags of a run: whose it is, and where it comes from."""
    return {"mlflow.user": _user(), "mlflow.source.name": "elboflow", "mlflow.source.type": "LOCAL"}


def end(client: "MlflowClient", run: "Run") -> None:
    """Ends the MLflow run of a pipeline run that succeeded; what an earlier try left there of its failure goes."""
    if run.info.status == "FINISHED":
        return  # and keeps the time at which it ended
    for tag in (STEP, FAILURE):
        if tag in run.data.tags:
            client.delete_tag(run.info.run_id, tag)
    client.set_terminated(run.info.run_id)


def record(client: "MlflowClient", run: "Run", finished: Finished, experiment: dict[str, Any]) -> str:
    """Writes everything about a finished run into its MLflow run.

    Returns:
        The id of the logged model.
    """
    run_id = run.info.run_id
    if run.info.status == "FINISHED":  # the last thing that is written, after the decision on the version
        return run.outputs.model_outputs[0].model_id
    log_params(client, run_id, experiment)
    datasets = _datasets(finished.images, experiment["name"])
    client.log_inputs(run_id, datasets)
    with temporary_folder() as temporary:
        artifacts.copy(finished.evaluated.path, "evaluation", temporary)
        client.log_artifacts(run_id, str(temporary), EVALUATION)
    client.log_text(run_id, json.dumps(masked_values(experiment), indent=2) + "\n", "experiment.json")
    client.log_text(run_id, masked(finished.images.manifest.to_json()), "dataset.json")
    model_id = _log_model(client, run, finished)
    add_curves(client, run, finished.trained.curves)
    client.log_batch(run_id, metrics=list(_results(run, finished, model_id, datasets[-1])))
    return model_id


def flat(experiment: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Returns the values of nested sections under dotted names, as MLflow's parameters take them."""
    values: dict[str, str] = {}
    for name, value in experiment.items():
        if isinstance(value, dict) and value:
            values.update(flat(value, f"{prefix}{name}."))
        else:
            text = value if isinstance(value, str) else json.dumps(value)
            values[prefix + name] = text if len(text) <= _LONGEST_PARAM else text[: _LONGEST_PARAM - 1] + "…"
    return values


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container may run under a number that has no name
        return str(os.getuid())


def log_params(client: "MlflowClient", run_id: str, experiment: dict[str, Any]) -> None:
    """Writes an experiment's values as the parameters of an MLflow run; without effect when they are there."""
    from mlflow.entities import Param

    for some in cut([Param(name, value) for name, value in flat(masked_values(experiment)).items()], _PARAMS_PER_CALL):
        client.log_batch(run_id, params=some)


def _datasets(images: ImageDataset, name: str) -> list["DatasetInput"]:
    from mlflow.data.schema import TensorDatasetSchema
    from mlflow.entities import Dataset, DatasetInput, InputTag
    from mlflow.types import Schema, TensorSpec

    manifest = images.manifest
    features = [
        TensorSpec(
            np.dtype(feature.dtype), (-1, *feature.shape) if isinstance(feature, Image) else (-1,), name=feature_name
        )
        for feature_name, feature in manifest.features.items()
    ]
    schema = TensorDatasetSchema(Schema(features)).to_dict()
    inputs = []
    for split, context in {"train": "training", "validation": "validation", "test": "evaluation"}.items():
        dataset = Dataset(
            name=f"{name}-{split}",
            digest=manifest.digest[:_LONGEST_DIGEST],
            source_type="local",
            source=json.dumps(masked_values({"uri": images.dataset.folder, **manifest.source.model_dump(mode="json")})),
            schema=json.dumps(schema),
            profile=json.dumps(_profile(manifest, split)),
        )
        inputs.append(DatasetInput(dataset, [InputTag("mlflow.data.context", context)]))
    return inputs


def _profile(manifest: Manifest, split: str) -> dict[str, int]:
    rows = {"num_rows": manifest.counts[split]}
    return rows if manifest.distinct is None else {**rows, "num_distinct": manifest.distinct[split]}


def _log_model(client: "MlflowClient", run: "Run", finished: Finished) -> str:
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus
    from mlflow.models import Model

    run_id, experiment_id = run.info.run_id, run.info.experiment_id
    ready = None
    for logged in client.search_logged_models([experiment_id], f"source_run_id = {quoted(run_id)}"):
        if logged.status == LoggedModelStatus.READY:
            ready = logged.model_id
        else:  # a killed registration left it half-written
            client.delete_logged_model(logged.model_id)
    if ready is None:
        logged = client.create_logged_model(
            experiment_id, MODEL, run_id, {WEIGHTS: finished.trained.weights}, model_type="VAE"
        )
        identity = Model(
            artifact_path=logged.artifact_location, model_uuid=logged.model_id, run_id=run_id, model_id=logged.model_id
        )
        with temporary_folder() as temporary:
            package(finished.trained, finished.images.examples("test"), temporary / MODEL, identity)
            client.log_model_artifacts(logged.model_id, str(temporary / MODEL))
        ready = client.finalize_logged_model(logged.model_id, "READY").model_id
    linked = run.outputs.model_outputs if run.outputs else []
    if ready not in [output.model_id for output in linked]:
        client.log_outputs(run_id, [LoggedModelOutput(ready, step=0)])
    return ready


def add_curves(client: "MlflowClient", run: "Run", curves: Mapping[str, Any]) -> None:
    """Writes what a run does not have yet of a training's curves (`elboflow.vae.training.curves.Curves`).

    It may have all but the last points, from when the training ran, or from a try that broke off.
    """
    had = known(client, run)
    time = max((time for _, time in had.values()), default=run.info.start_time)
    lacking = [point for point in points(curves, time) if point.step not in had.get(point.key, (frozenset(), 0))[0]]
    for some in cut(lacking, METRICS_PER_CALL):
        client.log_batch(run.info.run_id, metrics=some)


def known(client: "MlflowClient", run: "Run") -> dict[str, tuple[frozenset[int], int]]:
    """Returns the steps of each curve that a run has, and the time of the latest, in milliseconds."""
    found = {name: client.get_metric_history(run.info.run_id, name) for name in run.data.metrics if "/" in name}
    return {
        name: (frozenset(point.step for point in history), max(point.timestamp for point in history))
        for name, history in found.items()
        if history
    }


def points(curves: Mapping[str, Any], time: int) -> Iterator["Metric"]:
    """Yields the points of curves (`elboflow.vae.training.curves.Curves`), all at one time, in milliseconds."""
    from mlflow.entities import Metric

    for split, columns in curves.items():
        for name in sorted(columns.keys() - {"epoch", "step"}):
            for epoch, value in zip(columns["epoch"], columns[name], strict=True):
                if value is not None:  # what a machine did not tell of an epoch
                    yield Metric(f"{split}/{name}", value, time, int(epoch))


def _results(run: "Run", finished: Finished, model_id: str, test: "DatasetInput") -> Iterator["Metric"]:
    from mlflow.entities import Metric

    metrics = finished.evaluated.metrics
    for field in fields(metrics):
        estimate = getattr(metrics, field.name)
        for suffix, value in {"": estimate.value, "_low": estimate.low, "_high": estimate.high}.items():
            yield Metric(
                f"test/{field.name}{suffix}",
                value,
                run.info.start_time,
                finished.trained.best_epoch,
                model_id=model_id,
                dataset_name=test.dataset.name,
                dataset_digest=test.dataset.digest,
                run_id=run.info.run_id,
            )


def cut(values: Sequence[T], length: int) -> Iterator[Sequence[T]]:
    """Yields the values in pieces of at most that length."""
    for start in range(0, len(values), length):
        yield values[start : start + length]
