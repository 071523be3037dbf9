"""What MLflow keeps of a sweep: a parent run, and below it a run for each trial.

The parent is the run that the best model is registered from (`components.register`). Everything here can be done twice
with the effect of once.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.surroundings.masking import masked, masked_values
from components.sweep.trial import Candidate, Outcome
from components.tracking import curves, platform_runs, runs, store, tags
from components.tracking.limits import LONGEST_RUN_NAME, LONGEST_TAG, METRICS_PER_CALL, batches, shortened
from elboflow.settings import WorkError

if TYPE_CHECKING:
    from mlflow.entities import Metric, Run

OVER, TRIAL, STATUS = "elboflow.over", tags.TRIAL, "elboflow.status"
BEST, BEST_RUN, BEST_TRIAL = "elboflow.best", "elboflow.best_run", "elboflow.best_trial"
BOUND = "validation/best_elbo"
COMPARISON = "sweep"
"""The folder of the parent's artifacts that holds the report."""

_STATUS = {"finished": "FINISHED", "pruned": "KILLED", "failed": "FAILED"}


class Sweep:
    """The runs of one sweep in MLflow.

    Attributes:
        run: The sweep's run name.

    Args:
        experiment: The experiment that varies, as `Experiment.recorded()` gives it.
        run: The sweep's run name, by which the parent is found.
        tracking_uri: `sqlite:///PATH` or the URL of an MLflow server.

    Raises:
        WorkError: MLflow cannot be used.
    """

    def __init__(self, experiment: Mapping[str, Any], run: str, tracking_uri: str) -> None:
        self.run = run
        self._uri, self._wanted, self._name = tracking_uri, experiment, str(experiment["name"])
        self._client = store.connect(tracking_uri)
        with store.explained(tracking_uri):
            self._experiment_id = store.experiment_id(self._client, tracking_uri, self._name)

    def open(self, axes: Mapping[str, str], dataset: str, date: str | None = None) -> str:
        """Returns the id of the parent run, which is made where there is none, and is running from now on.

        Args:
            axes: What varies, as it was asked for: by dotted key.
            dataset: The dataset's digest.
            date: The date of its data, where they have one. The trials get that of the parent.
        """
        with store.exclusive(self._uri), store.explained(self._uri):
            found = runs.find(self._client, self._experiment_id, self.run)
            if found is None:
                given = {
                    tags.EXPERIMENT: self._name,
                    tags.DATASET: dataset,
                    OVER: json.dumps(masked_values(dict(axes))),
                    **tags.of_experiment(self._wanted, date),
                    **platform_runs.links(self._client, self._uri),
                }
                found = runs.begin(self._client, self._experiment_id, self.run, given)
            if found.info.status != "FINISHED":
                self._client.update_run(found.info.run_id, status="RUNNING")
            return str(found.info.run_id)

    def begin(self, candidate: Candidate) -> str:
        """Returns the id of a trial's run, which is made where there is none, and is running from now on.

        Raises:
            WorkError: The sweep has not been opened.
        """
        with store.explained(self._uri):
            found = self._trial(candidate.digest)
            if found is None:
                parent = self._parent()
                given = tags.of_experiment(self._wanted, parent.data.tags.get(tags.DATE))
                given |= {tags.PARENT: parent.info.run_id, tags.EXPERIMENT: self._name, TRIAL: candidate.digest}
                run = runs.begin(self._client, self._experiment_id, self._of(candidate.digest), given)
                found = str(run.info.run_id)
            # Also of a run that is there: the process that made it may have been killed before it wrote them.
            for key, value in masked_values(dict(candidate.values)).items():
                self._client.log_param(found, key, value if isinstance(value, str) else json.dumps(value))
            name = masked(str(candidate) or candidate.digest)[:LONGEST_RUN_NAME]
            self._client.update_run(found, status="RUNNING", name=name)
            return found

    def end(self, outcome: Outcome, measured: Mapping[str, Any] | None = None) -> None:
        """Writes an outcome into the run of its trial, and ends that run.

        Args:
            outcome: The outcome of a trial that has begun.
            measured: All that the training measured (`elboflow.vae.curves.Curves`), where it finished.
        """
        with store.explained(self._uri):
            run = runs.find(self._client, self._experiment_id, self._of(outcome.digest))
            if run is None:
                raise WorkError(f"MLflow has lost the run of the trial {outcome.digest}")
            run_id, started = run.info.run_id, run.info.start_time
            columns = measured or {"validation": {"epoch": range(1, len(outcome.elbo) + 1), "elbo": outcome.elbo}}
            points = [*curves.points(columns, started), *_results(outcome, started)]
            for batch in batches(points, METRICS_PER_CALL):
                self._client.log_batch(run_id, metrics=batch)
            self._client.set_tag(run_id, STATUS, outcome.status)
            if outcome.reason:
                self._client.set_tag(run_id, tags.FAILURE, shortened(masked(outcome.reason), LONGEST_TAG))
            elif tags.FAILURE in run.data.tags:  # of an earlier try
                self._client.delete_tag(run_id, tags.FAILURE)
            self._client.set_terminated(run_id, _STATUS[outcome.status])

    def choose(self, best: Outcome, comparison: Path) -> None:
        """Links the best trial from the parent, which then is the run that its model is registered from.

        Args:
            best: The best outcome.
            comparison: The comparison's folder, which the parent keeps as `sweep/`.
        """
        with store.explained(self._uri):
            parent, child = self._parent().info.run_id, self._trial(best.digest) or ""
            for key, value in {BEST_RUN: child, BEST_TRIAL: best.digest}.items():
                self._client.set_tag(parent, key, value)
            if child:
                self._client.set_tag(child, BEST, "true")
            self._client.log_artifacts(parent, str(comparison), COMPARISON)

    def fail(self, reason: str, comparison: Path) -> None:
        """Ends the parent as failed: no trial has made a model."""
        with store.explained(self._uri):
            parent = self._parent().info.run_id
            self._client.log_artifacts(parent, str(comparison), COMPARISON)
            self._client.set_tag(parent, tags.FAILURE, shortened(masked(reason), LONGEST_TAG))
            self._client.set_terminated(parent, "FAILED")

    def _parent(self) -> "Run":
        found = runs.find(self._client, self._experiment_id, self.run)
        if found is None:
            raise WorkError(f"MLflow has no run {self.run!r} of the sweep")
        return found

    def _of(self, digest: str) -> str:
        return f"{self.run}/{digest}"

    def _trial(self, digest: str) -> str | None:
        found = runs.find(self._client, self._experiment_id, self._of(digest))
        return None if found is None else str(found.info.run_id)


def _results(outcome: Outcome, time: int) -> Iterator["Metric"]:
    from mlflow.entities import Metric

    if outcome.bound is not None and outcome.best_epoch is not None:
        yield Metric(BOUND, outcome.bound, time, outcome.best_epoch)
    yield Metric("seconds", outcome.seconds, time, 0)
