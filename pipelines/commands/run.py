"""`elboflow run`."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.commands.options import DEFAULT_WORKSPACE, PLATFORMS, ExperimentArgument, SetOption, WorkspaceOption
from pipelines.commands.outcome import pasteable

if TYPE_CHECKING:
    from pipelines.targets.local.execution import Run

TARGETS = ("local",)


def run(
    experiment: ExperimentArgument,
    assignments: SetOption = None,
    target: Annotated[str, typer.Option(help="Where to run: local.")] = "local",
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON object on standard output.")] = False,
) -> None:
    """Run the whole pipeline: raw data in, a registered model out."""
    from settings import RequestError

    if target in PLATFORMS:
        raise RequestError(f"--target {target}: runs are local; compile it with `elboflow compile … --target {target}`")
    if target not in TARGETS:
        raise RequestError(f"--target {target}: unknown target; allowed: {', '.join(TARGETS)}")
    from pipelines.experiment import load
    from pipelines.targets.local import execution as local
    from pipelines.workspace import open_to_write
    from preprocessing import sources
    from vae import backends

    wanted = load(experiment, assignments or ())
    sources.check(wanted.data)
    backends.check(wanted.training.backend)
    place = open_to_write(workspace)
    try:
        done = local.run(wanted, place)
    except local.StepError as error:
        if as_json:
            print(json.dumps({"run": error.run, "status": "failed", "step": error.step, "reason": error.reason}))
        raise
    _summarise(done, workspace)
    if as_json:
        print(json.dumps(asdict(done)))


def _summarise(done: "Run", workspace: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    table = Table(
        "metric", "value", "95 % interval", box=None, title=f"{done.run} on the test split", title_justify="left"
    )
    for name, metric in _metrics(done).items():
        low, high = metric.get("low"), metric.get("high")
        table.add_row(name, f"{metric['value']:.4g}", "" if low is None else f"{low:.4g} … {high:.4g}")
    console.print()
    console.print(table)
    champion = "is the champion now" if done.mlflow["promoted"] else "is not the champion"
    console.print(f"\n{done.mlflow['model']} version {done.mlflow['version']} {champion}: {done.mlflow['reason']}")
    console.print(f"report: {done.report}", markup=False)
    console.print(f"MLflow: {pasteable('ui', '--workspace', workspace)}", markup=False)


def _metrics(done: "Run") -> dict[str, dict[str, float]]:
    metrics: dict[str, dict[str, float]] = json.loads((Path(done.evaluation) / "metrics.json").read_text())
    return metrics
