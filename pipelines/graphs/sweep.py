"""Pipelines of sweeps: preprocess → trials → the best → evaluate → register.

The trials are a loop where a platform trains them side by side, the jobs of Vertex AI's tuner, or one step that asks
Optuna.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipelines.graphs import PipelineInputs, Take, Task, trials
from pipelines.graphs.training import dated, evaluated_and_registered, preprocessed


@dataclass(frozen=True)
class _Sweep(ABC):
    """What all sweeps have in common.

    Attributes:
        over: What varies, as it was asked for: by dotted key, as JSON.
        parallel: Trials at work at once.
        trials_root: Where trials are kept by their digest; empty for those of this run alone.
    """

    over: str
    parallel: int
    trials_root: str
    name: str = "sweep"
    description: str = "Trainings on one dataset; the best is evaluated and registered."
    skips: bool = False
    trains_once: bool = False
    loops: bool = False

    @abstractmethod
    def tried(self, take: Take, values: PipelineInputs, dataset: Any) -> Task:
        """Makes the tasks of the trials, and returns the task whose outputs are the best model and its experiment."""

    def build(self, take: Take, values: PipelineInputs) -> None:
        """Makes the tasks."""
        dataset = preprocessed(take, values)
        best = self.tried(take, values, dataset).outputs
        evaluated_and_registered(take, values, dataset, best["model"], best["experiment"], best["seed"])

    def _known(self, values: PipelineInputs) -> dict[str, Any]:
        return {"experiment": values.experiment, "run": values.run, "tracking_uri": values.tracking_uri}


@dataclass(frozen=True)
class Grid(_Sweep):
    """All combinations of some values, each as JSON, by dotted key, as a loop of a platform.

    Attributes:
        combinations: What the trials try.
        waits: Seconds before each further try of a trial. Kubeflow ignores the retries of a task in a loop
            (https://github.com/kubeflow/pipelines/issues/12389), so that the step itself tries again.
    """

    combinations: tuple[str, ...] = ()
    waits: tuple[float, ...] = ()
    steps: tuple[str, ...] = ("preprocess", "begin", "train", "choose", "evaluate", "register")
    loops: bool = True

    def tried(self, take: Take, values: PipelineInputs, dataset: Any) -> Task:
        from kfp import dsl

        known = self._known(values)
        begun = take(trials.begin, cached=False, dataset=dataset, over=self.over, **dated(values), **known)
        with dsl.ParallelFor(list(self.combinations), name="trials", parallelism=self.parallel) as combination:
            # Never cached: what failed is to be tried again, and what finished is kept in its folder.
            tried = take(
                trials.train,
                cached=False,
                after=[begun],
                dataset=dataset,
                values=combination,
                trials_root=self.trials_root,
                waits=list(self.waits),
                **known,
            )
        return take(trials.choose, cached=False, trials=dsl.Collected(tried.outputs["trial"]), over=self.over, **known)


@dataclass(frozen=True)
class SearchSweep(_Sweep):
    """Trials that Optuna asks for, a grid's included, in one step; a SQLite file keeps the study."""

    settings: str = ""
    study: str = ""
    steps: tuple[str, ...] = ("preprocess", "search", "evaluate", "register")

    def tried(self, take: Take, values: PipelineInputs, dataset: Any) -> Task:
        return take(
            trials.search,
            cached=False,
            dataset=dataset,
            over=self.over,
            settings=self.settings,
            parallel=self.parallel,
            study=self.study,
            trials_root=self.trials_root,
            **self._known(values),
            **dated(values),
        )


@dataclass(frozen=True)
class Tuned(_Sweep):
    """Trials that Vertex AI's hyperparameter tuning asks for, each on a `WorkerPoolSpec` in JSON."""

    pool: str = ""
    job: Mapping[str, Any] = field(default_factory=dict)
    steps: tuple[str, ...] = ("preprocess", "worker-pools", "choose-found", "evaluate", "register")

    def tried(self, take: Take, values: PipelineInputs, dataset: Any) -> Task:
        from google_cloud_pipeline_components.v1.hyperparameter_tuning_job import HyperparameterTuningJobRunOp

        inputs = {"over": self.over, "trials_root": self.trials_root, **self._known(values)}
        pools = take(trials.worker_pools, cached=False, dataset=dataset, pool=self.pool, **dated(values), **inputs)
        tuned = HyperparameterTuningJobRunOp(
            worker_pool_specs=pools.outputs["Output"], parallel_trial_count=self.parallel, **self.job
        ).set_caching_options(False)
        return take(trials.choose_found, cached=False, after=[tuned], **inputs)
