"""The steps of a sweep, defined once for every target: preprocess → trials → the best → evaluate → register."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Model, PipelineTask
from kfp.dsl.base_component import BaseComponent
from kfp.dsl.graph_component import GraphComponent

from pipelines import steps as shared
from pipelines.experiment import Experiment
from pipelines.sweeps import steps
from pipelines.training import Take
from preprocessing.engines import Engine
from preprocessing.engines.direct import Direct

DESCRIPTION = "Trainings on one dataset; the best is evaluated and registered."


class Outputs(NamedTuple):
    """The artifacts that a sweep leaves behind, besides its trials."""

    dataset: Dataset
    model: Model
    comparison: Artifact
    evaluation: Artifact
    registration: Artifact


Attempts = Callable[[Any, PipelineTask], PipelineTask]
"""Makes the tasks of the trials, on the dataset and after a task, and returns the one that chooses the best."""


def grid(name: str, parallel: int) -> GraphComponent:
    """Returns this machine's pipeline of a grid, with so many trials at work at once."""

    @dsl.pipeline(name=name, description=DESCRIPTION)
    def sweep(
        data: str,
        evaluation: str,
        registry: str,
        experiment: str,
        over: str,
        trials: list,
        run: str,
        dataset_root: str,
        trials_root: str,
        tracking_uri: str,
        runner: str,
    ) -> Outputs:
        given = locals()
        return sweep_steps(_taken, looped(_taken, parallel, **some(given, *TRIED, "trials")), **some(given, *COMMON))

    return sweep


def search(name: str) -> GraphComponent:
    """Returns this machine's pipeline of a search, which is one step that keeps its study."""

    @dsl.pipeline(name=name, description=DESCRIPTION)
    def sweep(
        data: str,
        evaluation: str,
        registry: str,
        experiment: str,
        over: str,
        settings: str,
        parallel: int,
        study: str,
        run: str,
        dataset_root: str,
        trials_root: str,
        tracking_uri: str,
        runner: str,
    ) -> Outputs:
        given = locals()

        def attempts(dataset: Any, begun: PipelineTask) -> PipelineTask:
            inputs = some(given, *TRIED)
            searched = steps.search(dataset=dataset, settings=settings, parallel=parallel, study=study, **inputs)
            return steps.choose_found(**inputs).after(searched.after(begun).set_caching_options(False))

        return sweep_steps(_taken, attempts, **some(given, *COMMON))

    return sweep


COMMON = (
    "data", "evaluation", "registry", "experiment", "over", "run", "dataset_root", "tracking_uri", "runner"
)  # fmt: skip
"""The parameters of the steps around the trials."""
TRIED = ("experiment", "over", "run", "trials_root", "tracking_uri")
"""The parameters of the trials, and of the choice among them."""


def some(given: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Returns some of a pipeline's parameters."""
    return {name: given[name] for name in names}


def looped(
    take: Take,
    parallel: int,
    *,
    trials: Any,
    experiment: Any,
    over: Any,
    run: Any,
    trials_root: Any,
    tracking_uri: Any,
) -> Attempts:
    """Returns the trials as a loop over their values, so many at once."""

    def attempts(dataset: Any, begun: PipelineTask) -> PipelineTask:
        known = {"experiment": experiment, "run": run, "tracking_uri": tracking_uri}
        with dsl.ParallelFor(trials, name="trials", parallelism=parallel) as values:
            # Never cached: what failed is to be tried again, and what finished is kept in its folder.
            tried = take(steps.train, dataset=dataset, values=values, trials_root=trials_root, **known)
            tried.after(begun).set_caching_options(False)
        return take(steps.choose, trials=dsl.Collected(tried.outputs["trial"]), over=over, **known)

    return attempts


def sweep_steps(
    take: Take,
    attempts: Attempts,
    *,
    data: Any,
    evaluation: Any,
    registry: Any,
    experiment: Any,
    over: Any,
    run: Any,
    dataset_root: Any,
    tracking_uri: Any,
    runner: Any,
) -> Outputs:
    """Makes the tasks of a sweep; `take` makes one of a step, and `attempts` those of the trials."""
    preprocessed = take(shared.preprocess, data=data, dataset_root=dataset_root, runner=runner)
    dataset = preprocessed.set_caching_options(False).outputs["dataset"]
    begun = take(
        steps.begin, dataset=dataset, experiment=experiment, over=over, run=run, tracking_uri=tracking_uri
    ).set_caching_options(False)
    chosen = attempts(dataset, begun).set_caching_options(False)
    model = chosen.outputs["model"]
    evaluated = take(shared.evaluate, dataset=dataset, model=model, settings=evaluation, seed=chosen.outputs["seed"])
    registered = take(
        shared.register,
        dataset=dataset,
        model=model,
        evaluation=evaluated.outputs["evaluation"],
        registry=registry,
        experiment=chosen.outputs["experiment"],
        run=run,
        tracking_uri=tracking_uri,
    ).set_caching_options(False)
    return Outputs(
        dataset,
        model,
        chosen.outputs["comparison"],
        evaluated.outputs["evaluation"],
        registered.outputs["registration"],
    )


def arguments(
    experiment: Experiment,
    over: Mapping[str, str],
    *,
    dataset_root: str,
    trials_root: str,
    tracking_uri: str,
    runner: Engine | None = None,
) -> dict[str, Any]:
    """Returns the arguments that all pipelines of sweeps take.

    Args:
        experiment: The experiment that varies.
        over: What varies, as it was asked for: by dotted key.
        dataset_root: Where datasets are kept by their digest; empty for one with the run's other artifacts.
        trials_root: Where trials are kept by their digest; empty for those of this run alone.
        tracking_uri: The MLflow to register with.
        runner: The Beam runner of the preprocessing; by default the process of the step.
    """
    return {
        "data": experiment.data.model_dump_json(),
        "evaluation": experiment.evaluation.model_dump_json(),
        "registry": experiment.registry.model_dump_json(),
        "experiment": json.dumps(experiment.recorded()),
        "over": json.dumps(dict(over)),
        "dataset_root": dataset_root,
        "trials_root": trials_root,
        "tracking_uri": tracking_uri,
        "runner": (runner or Direct()).model_dump_json(),
    }


def values(candidates: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns the combinations of a grid as its pipeline takes them."""
    return [json.dumps(dict(candidate)) for candidate in candidates]


def _taken(step: BaseComponent, **inputs: Any) -> PipelineTask:
    return step(**inputs)
