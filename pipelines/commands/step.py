"""`elboflow step …`: one component by hand, from folder to folder."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from pipelines.commands import options, tracking, workspaces
from pipelines.commands.outcome import resumable, show_log, tell
from pipelines.commands.ui import pages

app = typer.Typer(no_args_is_help=True, help="Run one step of the pipeline by hand, from folder to folder.")

OutputOption = Annotated[
    Path, typer.Option(metavar="DIR", help="The folder to write.", parser=str, callback=options.folder)
]
ModelOption = Annotated[Path, typer.Option(metavar="DIR", help="A model folder.", parser=str, callback=options.local)]
EvaluationOption = Annotated[
    Path, typer.Option(metavar="DIR", help="An evaluation folder.", parser=str, callback=options.local)
]


@app.command()
def preprocess(
    experiment: options.ExperimentArgument,
    output: Annotated[
        str, typer.Option(metavar="DIR", help="The folder to write, here or at gs://….", callback=options.stored)
    ],
    assignments: options.SetOption = None,
    env: options.EnvOption = None,
) -> None:
    """Raw data → a dataset folder."""
    from components.preprocess import preprocess
    from pipelines.experiment import load

    wanted = load(experiment, assignments or (), env)
    show_log()
    preprocess(wanted.data, output)
    print(output)


@app.command()
def train(
    experiment: options.ExperimentArgument,
    dataset: options.DatasetOption,
    output: OutputOption,
    assignments: options.SetOption = None,
    env: options.EnvOption = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Start over: checkpoints are moved aside, a model is replaced.")
    ] = False,
    profile: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Write a profile of N steps below the model folder.")
    ] = None,
    tracking_uri: tracking.CurvesOption = None,
) -> None:
    """A dataset folder → a model folder. Interrupted or killed, the same command goes on where it was.

    Where an MLflow is named, it shows the curves while the model is trained.
    """
    from pipelines.experiment import load
    from pipelines.targets.local.surroundings import limit_threads, named_tracking_uri

    wanted = load(experiment, assignments or (), env)
    options.must_be_folders(dataset)
    options.must_be_apart(output, dataset)
    limit_threads(wanted)  # before anything is imported that would start more of them
    from components.binding.agreement import check_dataset
    from components.tracking.live import Tracking
    from components.train import Monitoring, train
    from elboflow.vae import compute

    compute.check(wanted.training.backend)
    check_dataset(wanted.name, wanted.data, dataset)
    show_log()
    uri = named_tracking_uri(wanted, tracking_uri)
    place = None if uri is None else Tracking(uri, wanted.name)
    with resumable(restart):
        train(
            dataset,
            output,
            wanted.model,
            wanted.training,
            wanted.seed,
            restart=restart,
            monitoring=Monitoring(profile=profile, tracking=place),
        )
    print(output)


@app.command()
def evaluate(
    experiment: options.ExperimentArgument,
    dataset: options.DatasetOption,
    model: ModelOption,
    output: OutputOption,
    assignments: options.SetOption = None,
    env: options.EnvOption = None,
) -> None:
    """A dataset folder and a model folder → an evaluation folder."""
    from components.binding.agreement import check_dataset
    from components.evaluate import evaluate
    from pipelines.console import at_work
    from pipelines.experiment import load

    wanted = load(experiment, assignments or (), env)
    options.must_be_folders(dataset, model)
    options.must_be_apart(output, dataset, model)
    check_dataset(wanted.name, wanted.data, dataset)
    show_log()
    with at_work("evaluate"):
        evaluate(dataset, model, output, wanted.evaluation, wanted.seed)
    print(output)


@app.command()
def register(
    experiment: options.ExperimentArgument,
    dataset: options.DatasetOption,
    model: ModelOption,
    evaluation: EvaluationOption,
    assignments: options.SetOption = None,
    env: options.EnvOption = None,
    workspace: options.WorkspaceOption = options.DEFAULT_WORKSPACE,
    run: Annotated[
        str | None, typer.Option(metavar="NAME", help="What to call the run; by default NAME-by-hand.")
    ] = None,
    tracking_uri: tracking.TrackingOption = None,
) -> None:
    """A dataset, a model and an evaluation folder → a version in MLflow."""
    from components.binding.agreement import check_source
    from components.register import register
    from components.tracking.preflight import check, check_run_name
    from pipelines.console import at_work
    from pipelines.experiment import load
    from pipelines.targets.local.surroundings import named_tracking_uri

    wanted = load(experiment, assignments or (), env)
    options.must_be_folders(dataset, model, evaluation)
    name = f"{wanted.name}-by-hand" if run is None else run
    check_run_name(name)
    uri = named_tracking_uri(wanted, tracking_uri) or workspaces.made(workspace, wanted).tracking_uri
    check(uri, wanted.name)
    check_source(wanted.name, wanted.data, dataset)
    show_log()
    with at_work("register"):
        registered = register(dataset, model, evaluation, wanted.registry, wanted.recorded(), name, uri)
    for line in pages(asdict(registered), workspace):
        tell(line)
    print(json.dumps(asdict(registered)))
