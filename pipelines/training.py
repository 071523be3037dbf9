"""The pipeline, defined once for every target: preprocess → train → evaluate → register.

On this machine that is all. A platform gets the same steps behind the decision whether to run at all, and an exit
handler that records how the run ended.
"""

import json
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from kfp import compiler, dsl
from kfp.dsl import Artifact, Dataset, Model, PipelineTask
from kfp.dsl.base_component import BaseComponent
from kfp.dsl.graph_component import GraphComponent

from elboflow.artifacts.temporary import temporary_folder
from pipelines import ending, steps
from pipelines.experiment import Experiment
from preprocessing.engines import Engine
from preprocessing.engines.direct import Direct

DESCRIPTION = "Raw data in; a trained, evaluated and registered variational autoencoder out."


class Outputs(NamedTuple):
    """The artifacts that a run leaves behind."""

    dataset: Dataset
    model: Model
    evaluation: Artifact
    registration: Artifact


class Platform(Protocol):
    """How a platform runs steps: what each of them is there, and what its task gets."""

    def component(self, step: BaseComponent) -> BaseComponent:
        """Returns a step as a component of the platform, of the same name, inputs and outputs."""

    def place(self, task: PipelineTask, step: str) -> None:
        """Gives the task of a step its image, machine, environment and retries."""


Take = Callable[..., PipelineTask]
"""Makes the task of a step, from its component and its inputs."""


def pipeline(name: str) -> GraphComponent:
    """Returns the pipeline of this machine, under an experiment's name."""

    @dsl.pipeline(name=name, description=DESCRIPTION)
    def training(
        data: str,
        architecture: str,
        training: str,
        evaluation: str,
        registry: str,
        experiment: str,
        seed: int,
        experiment_name: str,
        dataset_root: str,
        tracking_uri: str,
        runner: str,
    ) -> Outputs:
        return _steps(_taken, **locals())

    return training


def guarded(name: str, platform: Platform, root: str | None, console: str) -> GraphComponent:
    """Returns the pipeline of a platform, under an experiment's name.

    Args:
        name: The experiment's name.
        platform: How it runs steps.
        root: Where it keeps artifacts, if the pipeline is to say so.
        console: What stands before a job's id in the address of its page; empty where that is not known.
    """

    def take(step: BaseComponent, **inputs: Any) -> PipelineTask:
        task = platform.component(step)(**inputs)
        platform.place(task, step.name)
        return task

    @dsl.pipeline(name=name, description=DESCRIPTION, pipeline_root=root)
    def training(
        data: str,
        architecture: str,
        training: str,
        evaluation: str,
        registry: str,
        experiment: str,
        seed: int,
        experiment_name: str,
        dataset_root: str,
        tracking_uri: str,
        runner: str,
        if_changed: bool,
        notify: str,
    ) -> None:
        finished = take(
            ending.finish,
            experiment=experiment,
            run=dsl.PIPELINE_JOB_NAME_PLACEHOLDER,
            job=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
            console=console,
            notify=notify,
            tracking_uri=tracking_uri,
        ).set_caching_options(False)
        with dsl.ExitHandler(finished):
            decided = take(
                ending.decide,
                data=data,
                experiment=experiment,
                if_changed=if_changed,
                run=dsl.PIPELINE_JOB_NAME_PLACEHOLDER,
                job=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
                tracking_uri=tracking_uri,
            ).set_caching_options(False)
            with dsl.If(decided.outputs["Output"] == "run"):
                _steps(
                    take,
                    data=data,
                    architecture=architecture,
                    training=training,
                    evaluation=evaluation,
                    registry=registry,
                    experiment=experiment,
                    seed=seed,
                    experiment_name=experiment_name,
                    dataset_root=dataset_root,
                    tracking_uri=tracking_uri,
                    runner=runner,
                )

    return training


def _taken(step: BaseComponent, **inputs: Any) -> PipelineTask:
    return step(**inputs)


def _steps(
    take: Take,
    *,
    data: str,
    architecture: str,
    training: str,
    evaluation: str,
    registry: str,
    experiment: str,
    seed: int,
    experiment_name: str,
    dataset_root: str,
    tracking_uri: str,
    runner: str,
) -> Outputs:
    # The first and the last step are never cached: whether the raw data are what they were is for the first to find
    # out (it reuses the dataset by its digest), and the last one acts on the world outside.
    preprocessed = take(steps.preprocess, data=data, dataset_root=dataset_root, runner=runner)
    dataset = preprocessed.set_caching_options(False).outputs["dataset"]
    trained = take(
        steps.train,
        dataset=dataset,
        architecture=architecture,
        training=training,
        seed=seed,
        experiment_name=experiment_name,
        tracking_uri=tracking_uri,
    )
    model = trained.outputs["model"]
    evaluated = take(steps.evaluate, dataset=dataset, model=model, settings=evaluation, seed=seed)
    registered = take(
        steps.register,
        dataset=dataset,
        model=model,
        evaluation=evaluated.outputs["evaluation"],
        registry=registry,
        experiment=experiment,
        run=dsl.PIPELINE_JOB_NAME_PLACEHOLDER,
        tracking_uri=tracking_uri,
    ).set_caching_options(False)
    return Outputs(dataset, model, evaluated.outputs["evaluation"], registered.outputs["registration"])


def arguments(
    experiment: Experiment, dataset_root: str, tracking_uri: str, runner: Engine | None = None
) -> dict[str, Any]:
    """Returns the arguments of this machine's pipeline for an experiment.

    Args:
        experiment: The experiment.
        dataset_root: Where datasets are kept by their digest; empty for one with the run's other artifacts.
        tracking_uri: The MLflow to register with.
        runner: The Beam runner of the preprocessing; by default the process of the step.
    """
    return {
        "data": experiment.data.model_dump_json(),
        "architecture": experiment.model.model_dump_json(),
        "training": experiment.training.model_dump_json(),
        "evaluation": experiment.evaluation.model_dump_json(),
        "registry": experiment.registry.model_dump_json(),
        "experiment": json.dumps(experiment.recorded()),
        "seed": experiment.seed,
        "experiment_name": experiment.name,
        "dataset_root": dataset_root,
        "tracking_uri": tracking_uri,
        "runner": (runner or Direct()).model_dump_json(),
    }


def compiled(
    experiment: Experiment,
    platform: Platform,
    *,
    dataset_root: str,
    tracking_uri: str,
    runner: Engine,
    root: str | None,
    console: str = "",
) -> str:
    """Returns a platform's pipeline of an experiment as IR YAML, the same bytes for the same experiment.

    Args:
        experiment: The experiment.
        platform: How the platform runs steps.
        dataset_root: Where datasets are kept by their digest; empty for one with the run's other artifacts.
        tracking_uri: The MLflow to register with.
        runner: The Beam runner of the preprocessing.
        root: Where the platform keeps the artifacts of runs, if the pipeline is to say so.
        console: What stands before a job's id in the address of its page; empty where that is not known.
    """
    graph = guarded(experiment.name, platform, root, console)
    values = {
        **arguments(experiment, dataset_root, tracking_uri, runner),
        "if_changed": False,
        "notify": "" if experiment.notify is None else experiment.notify.model_dump_json(),
    }
    with temporary_folder() as folder:
        path = folder / "pipeline.yaml"
        compiler.Compiler().compile(graph, str(path), pipeline_parameters=values)
        return path.read_text(encoding="utf-8")
