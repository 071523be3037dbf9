"""The components of the pipeline, those at its ends on a platform included: each body calls the plain function of its
name in `components/`.

KFP ships the source of each function, and nothing else of this file, to wherever the step runs; the project itself is
installed in the image. A step takes its own section of the experiment and no other, as JSON, so that a change in one
section leaves the cached results of the steps before it valid.
"""

from typing import NamedTuple

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Model, Output, PipelineTaskFinalStatus

IMAGE = "python:3.11"
"""The image until a target names its own. The local target runs in this Python and needs none."""


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def preprocess(data: str, dataset_root: str, runner: str, dataset: Output[Dataset]) -> None:
    """Raw data → the dataset. Under a root, the dataset has the folder of its digest and outlives the run."""
    from pipelines.step_process.process import step

    with step(dataset.path):
        from pydantic import TypeAdapter

        from components.preprocess import preprocess
        from preprocessing.config import DataConfig
        from preprocessing.engines import Engine
        from preprocessing.pipeline import dataset_digest

        config = DataConfig.model_validate_json(data)
        if dataset_root:
            dataset.uri = dataset_root  # its path is where the platform mounts the root
        digest = dataset_digest(config, dataset.path if dataset_root else "")
        if dataset_root:
            dataset.uri = f"{dataset_root}/{digest}"
        made = preprocess(config, dataset.path, digest, TypeAdapter(Engine).validate_json(runner))
        dataset.metadata.update(digest=made.manifest.digest, counts=made.manifest.counts, reused=made.reused)


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def train(
    dataset: Input[Dataset],
    architecture: str,
    training: str,
    seed: int,
    experiment_name: str,
    tracking_uri: str,
    model: Output[Model],
) -> None:
    """The dataset → the model, with curves in MLflow during the training.

    The run's name is no input, with which no run would find the cached result of another; where the target can say it,
    it is in the environment.
    """
    from elboflow.settings.variables import RUN
    from pipelines.step_process.process import step

    with step(model.path):
        import os

        from components.tracking.live import Tracking
        from components.train import Monitoring, train
        from elboflow.vae.config import TrainingConfig
        from elboflow.vae.model import ModelConfig

        train(
            dataset.path,
            model.path,
            ModelConfig.model_validate_json(architecture),
            TrainingConfig.model_validate_json(training),
            seed,
            monitoring=Monitoring(tracking=Tracking(tracking_uri, experiment_name, os.environ.get(RUN))),
        )


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def evaluate(
    dataset: Input[Dataset], model: Input[Model], settings: str, seed: int, evaluation: Output[Artifact]
) -> None:
    """The dataset and the model → the evaluation."""
    from pipelines.step_process.process import step

    with step(evaluation.path):
        from components.evaluate import evaluate
        from elboflow.vae.evaluation.config import EvaluationConfig

        evaluate(dataset.path, model.path, evaluation.path, EvaluationConfig.model_validate_json(settings), seed)


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def register(
    dataset: Input[Dataset],
    model: Input[Model],
    evaluation: Input[Artifact],
    registry: str,
    experiment: str,
    run: str,
    tracking_uri: str,
    registration: Output[Artifact],
    date: str = "",
) -> None:
    """All three → a version in MLflow. The artifact's metadata say which, and whether it became the champion."""
    from elboflow.settings.variables import STEP_SECONDS
    from pipelines.step_process.process import seconds_before, step

    with step(registration.path):
        import json
        import logging
        import os
        from dataclasses import asdict
        from pathlib import Path

        from components.config import RegistryConfig
        from components.register import register
        from components.tracking.pages import pages_of

        registered = register(
            dataset.path,
            model.path,
            evaluation.path,
            RegistryConfig.model_validate_json(registry),
            json.loads(experiment),
            run,
            tracking_uri,
            seconds_before(),
            Path(registration.path) / "report.html",
            date or None,
        )
        registration.metadata.update(asdict(registered))
        if STEP_SECONDS not in os.environ:  # a run of this machine ends with these lines
            for line in pages_of(asdict(registered)):
                logging.getLogger("elboflow.registry").info("%s", line)


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def resolve_date(
    data: str,
    date: str,
    scheduled: str,
    timezone: str,
) -> NamedTuple("Dated", [("data", str), ("date", str)]):  # type: ignore[valid-type]  # in the step, no class of this module is known
    """Returns the date of a run, and the section `data` with it: the schedule's date, unless one is given."""
    from pipelines.step_process.process import step

    with step():
        import logging
        from datetime import UTC, datetime

        from preprocessing.config import DataConfig
        from preprocessing.dates import scheduled as date_of

        config = DataConfig.model_validate_json(data)
        moment = date_of(date, scheduled, timezone, datetime.now(UTC))
        dated = config.at(moment)
        places = ", ".join(dated.source.locations.values())
        logging.getLogger("elboflow.preprocessing").info("the data of %s: %s", config.source.date_of(moment), places)
        return dated.model_dump_json(), config.source.date_of(moment)


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def decide(
    data: str,
    experiment: str,
    if_changed: bool,
    run: str,
    job: str,
    tracking_uri: str,
    decision: Output[Artifact],
    date: str = "",
) -> str:
    """Answers `run` or `skip`; the artifact's metadata say why. The MLflow run of a run that is not skipped is made."""
    from pipelines.step_process.process import step

    with step(decision.path):
        import json
        import logging

        from components.decide import Change, changed
        from components.finish import begin
        from preprocessing.config import DataConfig

        if if_changed:
            change = changed(DataConfig.model_validate_json(data), json.loads(experiment), tracking_uri)
        else:
            change = Change(True, "asked to run whether anything changed or not")
        answer = "run" if change.changed else "skip"
        if change.changed:
            begin(json.loads(experiment), run, tracking_uri, job=job, date=date or None)
        decision.metadata.update(answer=answer, reason=change.reason)
        logging.getLogger("elboflow.ending").info("%s: %s", answer, change.reason)
        return answer


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def finish(
    status: PipelineTaskFinalStatus, experiment: str, run: str, job: str, console: str, notify: str, tracking_uri: str
) -> None:
    """Writes how the run ended into MLflow, and tells it where the experiment asks for that.

    It is the exit task of the pipeline. `console` is what stands before the id of a job in the address of its page.
    """
    from pipelines.step_process.process import step

    with step():
        import json
        import logging

        from pydantic import TypeAdapter

        from components.config import Notification
        from components.finish import finish
        from elboflow.settings import RequestError, WorkError
        from pipelines.step_process.run_outcome import run_outcome

        recorded = json.loads(experiment)
        ended = run_outcome(status, recorded["name"], run, console + job if console else None, tracking_uri)
        notification = TypeAdapter(Notification).validate_json(notify) if notify else None
        try:
            finish(ended, recorded, notification, tracking_uri)
        except (RequestError, WorkError) as error:
            # It has told how the run ended. A failure here would be tried again, and tell it again.
            logging.getLogger("elboflow.ending").error("how the run ended is not in MLflow: %s", error)
