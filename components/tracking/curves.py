"""A training's curves (`elboflow.vae.curves.Curves`) as the metrics of an MLflow run."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from components.tracking.limits import METRICS_PER_CALL, batches

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run


def complete(client: "MlflowClient", run: "Run", curves: Mapping[str, Any]) -> None:
    """Writes those points of a training's curves that its run lacks.

    The run may have all but the last points: of the training itself, or of a try that was killed.
    """
    recorded = steps_of(client, run)
    time = max((time for _, time in recorded.values()), default=run.info.start_time)
    lacking = [
        point for point in points(curves, time) if point.step not in recorded.get(point.key, (frozenset(), 0))[0]
    ]
    for batch in batches(lacking, METRICS_PER_CALL):
        client.log_batch(run.info.run_id, metrics=batch)


def steps_of(client: "MlflowClient", run: "Run") -> dict[str, tuple[frozenset[int], int]]:
    """Returns the steps of each curve that a run has, and the time of the latest, in milliseconds since 1970."""
    found = {name: client.get_metric_history(run.info.run_id, name) for name in run.data.metrics if "/" in name}
    return {
        name: (frozenset(point.step for point in history), max(point.timestamp for point in history))
        for name, history in found.items()
        if history
    }


def points(curves: Mapping[str, Any], time: int) -> Iterator["Metric"]:
    """Yields the points of curves, all at one time, in milliseconds since 1970."""
    from mlflow.entities import Metric

    for split, columns in curves.items():
        for name in sorted(columns.keys() - {"epoch", "step"}):
            for epoch, value in zip(columns["epoch"], columns[name], strict=True):
                if value is not None:  # a host that did not measure it in this epoch
                    yield Metric(f"{split}/{name}", value, time, int(epoch))
