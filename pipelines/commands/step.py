"""`elboflow step …`: one component by hand, from folder to folder."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from pipelines.commands import options, tracking, workspaces
from pipelines.commands.from_run import Asked, FromRunOption, resolved
from pipelines.commands.outcome import resumable, show_log, tell
from pipelines.commands.ui import pages

app = typer.Typer(no_args_is_help=True, help="Run one step of the pipeline by hand, from folder to folder.")

OutputOption = Annotated[
    Path, typer.Option(metavar="DIR", help="The folder to write.", parser=str, callback=options.folder)
]
ModelOption = Annotated[
    Path | None, typer.Option(metavar="DIR", help="A model folder.", parser=str, callback=options.local)
]
EvaluationOption = Annotated[
    Path | None, typer.Option(metavar="DIR", help="An evaluation folder.", parser=str, callback=options.local)
]


@app.command()
def preprocess(
    experiment: options.ExperimentArgument,
    output: Annotated[
        str, typer.Option(metavar="DIR", help="The folder to write, here or at gs://….", callback=options.stored)
    ],
    assignments: options.SetOption = None,
    env: options.EnvOption = None,
    date: options.DateOption = None,
) -> None:
    """Raw data → a dataset folder."""
    from components.preprocess import preprocess
    from pipelines.experiment import load

    wanted = load(experiment, options.on_date(date, assignments), env)
    show_log()
    preprocess(wanted.data_of_date, output)
    print(output)


@app.command()
def train(
    output: OutputOption,
    experiment: options.OptionalExperimentArgument = None,
    dataset: options.OptionalDatasetOption = None,
    assignments: options.SetOption = None,
    env: options.EnvOption = None,
    date: options.DateOption = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Start over: checkpoints are moved aside, a model is replaced.")
    ] = False,
    profile: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Write a profile of N steps below the model folder.")
    ] = None,
    tracking_uri: tracking.CurvesOption = None,
    from_run: FromRunOption = None,
    target: options.TargetOption = "local",
    workspace: options.WorkspaceOption = options.DEFAULT_WORKSPACE,
) -> None:
    """A dataset folder → a model folder. Interrupted or killed, the same command goes on where it was.

    Where an MLflow is named, it shows the curves while the model is trained.
    """
    from pipelines.targets.local.surroundings import limit_threads, named_tracking_uri

    asked = Asked("train", experiment, options.on_date(date, assignments), env, {"dataset": dataset})
    wanted, inputs = resolved(asked, from_run, target, workspace)
    options.must_be_folders(*inputs.values())
    options.must_be_apart(output, *inputs.values())
    limit_threads(wanted)  # before anything is imported that would start more of them
    from components.binding.agreement import check_dataset
    from components.tracking.live import Tracking
    from components.train import Monitoring, train
    from elboflow.vae import compute

    compute.check(wanted.training.backend)
    check_dataset(wanted.name, wanted.data_of_date, inputs["dataset"])
    show_log()
    uri = named_tracking_uri(wanted, tracking_uri)
    place = None if uri is None else Tracking(uri, wanted.name)
    with resumable(restart):
        train(
            inputs["dataset"],
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
    output: OutputOption,
    experiment: options.OptionalExperimentArgument = None,
    dataset: options.OptionalDatasetOption = None,
    model: ModelOption = None,
    assignments: options.SetOption = None,
    env: options.EnvOption = None,
    date: options.DateOption = None,
    from_run: FromRunOption = None,
    target: options.TargetOption = "local",
    workspace: options.WorkspaceOption = options.DEFAULT_WORKSPACE,
) -> None:
    """A dataset folder and a model folder → an evaluation folder."""
    from components.binding.agreement import check_dataset
    from components.evaluate import evaluate
    from pipelines.console import at_work

    assigned = options.on_date(date, assignments)
    asked = Asked("evaluate", experiment, assigned, env, {"dataset": dataset, "model": model})
    wanted, inputs = resolved(asked, from_run, target, workspace)
    options.must_be_folders(*inputs.values())
    options.must_be_apart(output, *inputs.values())
    check_dataset(wanted.name, wanted.data_of_date, inputs["dataset"])
    show_log()
    with at_work("evaluate"):
        evaluate(inputs["dataset"], Path(inputs["model"]), output, wanted.evaluation, wanted.seed)
    print(output)


@app.command()
def register(
    experiment: options.OptionalExperimentArgument = None,
    dataset: options.OptionalDatasetOption = None,
    model: ModelOption = None,
    evaluation: EvaluationOption = None,
    assignments: options.SetOption = None,
    env: options.EnvOption = None,
    date: options.DateOption = None,
    workspace: options.WorkspaceOption = options.DEFAULT_WORKSPACE,
    run: Annotated[
        str | None, typer.Option(metavar="NAME", help="What to call the run; by default NAME-by-hand.")
    ] = None,
    tracking_uri: tracking.TrackingOption = None,
    from_run: FromRunOption = None,
    target: options.TargetOption = "local",
) -> None:
    """A dataset, a model and an evaluation folder → a version in MLflow."""
    from components.binding.agreement import check_source
    from components.register import register
    from components.tracking.preflight import check, check_run_name
    from pipelines.console import at_work
    from pipelines.targets.local.surroundings import named_tracking_uri

    given = {"dataset": dataset, "model": model, "evaluation": evaluation}
    asked = Asked("register", experiment, options.on_date(date, assignments), env, given)
    wanted, inputs = resolved(asked, from_run, target, workspace)
    options.must_be_folders(*inputs.values())
    name = f"{wanted.name}-by-hand" if run is None else run
    check_run_name(name)
    uri = named_tracking_uri(wanted, tracking_uri) or workspaces.made(workspace, wanted).tracking_uri
    check(uri, wanted.name)
    check_source(wanted.name, wanted.data_of_date, inputs["dataset"])
    show_log()
    folders = inputs["dataset"], inputs["model"], inputs["evaluation"]
    with at_work("register"):
        registered = register(*folders, wanted.registry, wanted.recorded(), name, uri, date=wanted.dated().date)
    for line in pages(asdict(registered), workspace):
        tell(line)
    print(json.dumps(asdict(registered)))
