"""The pipeline, defined once for every target: preprocess → train → evaluate → register."""

import json
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from kfp import compiler, dsl
from kfp.dsl import Artifact, Dataset, Model
from kfp.dsl.graph_component import GraphComponent

from pipelines import steps
from pipelines.experiment import Experiment

DESCRIPTION = "Raw data in; a trained, evaluated and registered variational autoencoder out."


class Outputs(NamedTuple):
    """The artifacts that a run leaves behind."""

    dataset: Dataset
    model: Model
    evaluation: Artifact
    registration: Artifact


def pipeline(name: str, image: str | None = None, root: str | None = None) -> GraphComponent:
    """Returns the pipeline under an experiment's name, with its steps in an image and its artifacts under a root."""

    @dsl.pipeline(name=name, description=DESCRIPTION, pipeline_root=root)
    def training(
        data: str,
        architecture: str,
        training: str,
        evaluation: str,
        registry: str,
        experiment: str,
        seed: int,
        dataset_root: str,
        tracking_uri: str,
    ) -> Outputs:
        # The first and the last step are never cached: whether the raw data are what they were is for the first to
        # find out (it reuses the dataset by its digest), and the last one acts on the world outside.
        dataset = steps.preprocess(data=data, dataset_root=dataset_root).set_caching_options(False).output
        trained = steps.train(dataset=dataset, architecture=architecture, training=training, seed=seed)
        model = trained.output
        evaluated = steps.evaluate(dataset=dataset, model=model, settings=evaluation, seed=seed)
        registered = steps.register(
            dataset=dataset,
            model=model,
            evaluation=evaluated.output,
            registry=registry,
            experiment=experiment,
            run=dsl.PIPELINE_JOB_NAME_PLACEHOLDER,
            tracking_uri=tracking_uri,
        ).set_caching_options(False)
        if image is not None:
            for task in (dataset.task, trained, evaluated, registered):
                task.set_container_image(image)
        return Outputs(dataset, model, evaluated.output, registered.output)

    return training


def arguments(experiment: Experiment, dataset_root: str, tracking_uri: str) -> dict[str, Any]:
    """Returns the pipeline's arguments for an experiment.

    Args:
        experiment: The experiment.
        dataset_root: Where datasets are kept by their digest; empty for one with the run's other artifacts.
        tracking_uri: The MLflow to register with.
    """
    return {
        "data": experiment.data.model_dump_json(),
        "architecture": experiment.model.model_dump_json(),
        "training": experiment.training.model_dump_json(),
        "evaluation": experiment.evaluation.model_dump_json(),
        "registry": experiment.registry.model_dump_json(),
        "experiment": json.dumps(experiment.recorded()),
        "seed": experiment.seed,
        "dataset_root": dataset_root,
        "tracking_uri": tracking_uri,
    }


def compiled(experiment: Experiment, image: str, dataset_root: str, tracking_uri: str, root: str | None = None) -> str:
    """Returns the pipeline of an experiment as IR YAML, the same bytes for the same experiment.

    Args:
        experiment: The experiment.
        image: The container image of the steps.
        dataset_root: Where datasets are kept by their digest; empty for one with the run's other artifacts.
        tracking_uri: The MLflow to register with.
        root: Where the target keeps the artifacts of runs, if the pipeline is to say so.
    """
    graph = pipeline(experiment.name, image, root)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pipeline.yaml"
        values = arguments(experiment, dataset_root, tracking_uri)
        compiler.Compiler().compile(graph, str(path), pipeline_parameters=values)
        return path.read_text()
