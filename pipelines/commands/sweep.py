"""`elboflow sweep`."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.commands.options import (
    DEFAULT_WORKSPACE,
    EnvOption,
    ExperimentArgument,
    SetOption,
    WorkspaceOption,
)
from pipelines.commands.outcome import pasteable

if TYPE_CHECKING:
    from pipelines.sweeps.execution import Swept


def sweep(
    experiment: ExperimentArgument,
    over: Annotated[
        list[str],
        typer.Option(
            metavar="KEY=VALUES",
            help="What varies: model.latent=2,8,32; for a search also model.latent=2..64, or 1e-4..1e-2:log.",
        ),
    ],
    parallel: Annotated[int, typer.Option(min=1, help="Trials at work at once.")] = 1,
    assignments: SetOption = None,
    env: EnvOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON object on standard output.")] = False,
) -> None:
    """Train an experiment with many values on one dataset; evaluate and register the best by validation bound."""
    from pipelines.experiment import load
    from pipelines.sweeps import axes, candidates, execution
    from pipelines.targets.local.execution import StepError
    from pipelines.workspace import open_to_write
    from preprocessing import sources
    from vae import backends

    wanted = load(experiment, assignments or (), env)
    varied = axes.parse(over, wanted)
    trials = axes.grid(varied)
    for candidate in candidates.check(wanted.recorded(), trials):
        backends.check(candidate.training.backend)
    sources.check(wanted.data)
    plan = execution.Plan(wanted, {axis.key: axis.text for axis in varied}, parallel, trials)
    place = open_to_write(workspace)
    try:
        done = execution.run(plan, place)
    except StepError as error:
        if as_json:
            failed = {"run": error.run, "status": "failed", "step": error.step, "reason": error.reason}
            print(json.dumps({**failed, "trials": execution.ended_trials(plan, place)}))
        raise
    _summarise(done, workspace)
    if as_json:
        print(json.dumps(asdict(done)))


def _summarise(done: "Swept", workspace: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    from components.trial import written

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    keys = list(done.best)
    table = Table(*keys, "validation ELBO", "", box=None, title=done.run, title_justify="left")
    ranked = sorted(done.trials, key=lambda tried: (tried["status"] == "failed", -(tried["bound"] or 0.0)))
    for tried in ranked:
        bound = "" if tried["bound"] is None else f"{tried['bound']:.2f}"
        remark = "the best" if tried["best"] else "" if tried["status"] == "finished" else tried["status"]
        table.add_row(*(written(tried["values"][key]) for key in keys), bound, remark)
    console.print()
    console.print(table)
    elbo = f"ELBO {done.metrics['elbo']:.2f}, log-likelihood at least {done.metrics['log_likelihood']:.2f} nats"
    console.print(f"\nthe best on the test split: {elbo}")
    champion = "is the champion now" if done.mlflow["promoted"] else "is not the champion"
    console.print(f"{done.mlflow['model']} version {done.mlflow['version']} {champion}: {done.mlflow['reason']}")
    console.print(f"comparison: {done.comparison}\nreport: {done.report}", markup=False)
    console.print(f"MLflow: {pasteable('ui', '--workspace', workspace)}", markup=False)
