"""The pipeline that trains: preprocess → train → evaluate → register."""

from dataclasses import dataclass
from typing import Any

from pipelines.graphs import PipelineInputs, Take, steps


@dataclass(frozen=True)
class Training:
    """The pipeline."""

    name: str = ""
    description: str = "Raw data in; a trained, evaluated and registered variational autoencoder out."
    steps: tuple[str, ...] = ("preprocess", "train", "evaluate", "register")
    skips: bool = True
    trains_once: bool = True
    loops: bool = False

    def build(self, take: Take, values: PipelineInputs) -> None:
        """Makes the tasks."""
        dataset = preprocessed(take, values)
        model = take(
            steps.train,
            dataset=dataset,
            architecture=values.model,
            training=values.training,
            seed=values.seed,
            experiment_name=values.name,
            tracking_uri=values.tracking_uri,
        ).outputs["model"]
        evaluated_and_registered(take, values, dataset, model, values.experiment, values.seed)


def preprocessed(take: Take, values: PipelineInputs) -> object:
    """Makes the first task of a pipeline that trains, and returns the dataset.

    It is never cached: whether the raw data have changed is for the step to find out, which reuses the dataset of the
    same digest.
    """
    task = take(
        steps.preprocess, cached=False, data=values.data, dataset_root=values.dataset_root, runner=values.runner
    )
    return task.outputs["dataset"]


def evaluated_and_registered(
    take: Take, values: PipelineInputs, dataset: object, model: object, experiment: object, seed: object
) -> None:
    """Makes the last two tasks of a pipeline that trains. Registration acts on MLflow, and is never cached."""
    evaluation = take(steps.evaluate, dataset=dataset, model=model, settings=values.evaluation, seed=seed).outputs[
        "evaluation"
    ]
    take(
        steps.register,
        cached=False,
        dataset=dataset,
        model=model,
        evaluation=evaluation,
        registry=values.registry,
        experiment=experiment,
        run=values.run,
        tracking_uri=values.tracking_uri,
        **dated(values),
    )


def dated(values: PipelineInputs) -> dict[str, Any]:
    """Returns the input `date` of the steps that write into MLflow; none where the data have no date."""
    return {} if values.date is None else {"date": values.date}


TRAINING = Training()
