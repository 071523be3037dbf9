"""`elboflow run`."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.commands import workspaces
from pipelines.commands.options import (
    DEFAULT_WORKSPACE,
    EnvOption,
    ExperimentArgument,
    JsonOption,
    SetOption,
    TargetOption,
    WorkspaceOption,
)
from pipelines.commands.outcome import pasteable, show_log, tell

if TYPE_CHECKING:
    from pipelines.experiment import Experiment
    from pipelines.targets import RunState
    from pipelines.targets.local.execution import Run
    from pipelines.workspace import Workspace


def run(
    experiment: ExperimentArgument,
    assignments: SetOption = None,
    env: EnvOption = None,
    target: TargetOption = "local",
    if_changed: Annotated[
        bool, typer.Option("--if-changed", help="Only if data or experiment differ from those of the last success.")
    ] = False,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Start it, and do not follow it.")] = False,
    release: Annotated[
        str | None, typer.Option(metavar="VERSION", help="Run what `elboflow publish` published as this version.")
    ] = None,
    docker: Annotated[
        bool, typer.Option("--docker", help="Run the steps in containers of targets.local.image, on this machine.")
    ] = False,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """Run the whole pipeline: raw data in, a registered model out."""
    from elboflow.settings import RequestError
    from pipelines.experiment import load
    from pipelines.targets import NAMES

    if target not in NAMES:
        raise RequestError(f"--target {target}: unknown target; allowed: {', '.join(NAMES)}")
    check_settings(assignments or (), release)
    if docker and (target != "local" or no_wait):
        raise RequestError("--docker: runs steps in containers of this machine, and waits for them")
    wanted = load(experiment, assignments or (), env)
    show_log()
    if target != "local" or no_wait or release is not None:
        _submit(wanted, target, if_changed, release, no_wait, workspace, as_json)
    else:
        _here(wanted, if_changed, docker, workspace, as_json)


def check_settings(assignments: Sequence[str], release: str | None) -> None:
    """Refuses settings that would have no effect: a published version runs as it was published.

    Raises:
        RequestError: There is one, of something else than how to reach a target.
    """
    from elboflow.settings import RequestError

    if release is not None:
        for assignment in assignments:
            if assignment.partition("=")[0].partition(".")[0].strip() != "targets":
                raise RequestError(
                    f"--set {assignment}: has no effect on the published version {release}, which runs as it was "
                    "published; publish another one, or leave it out"
                )


def _submit(
    wanted: "Experiment",
    target: str,
    if_changed: bool,
    release: str | None,
    no_wait: bool,
    workspace: Path,
    as_json: bool,
) -> None:
    from pipelines.commands.runs import accompany, values
    from pipelines.prerequisites import check_here
    from pipelines.releases import reference
    from pipelines.targets.connect import connect
    from pipelines.targets.submission import job
    from pipelines.workspace import Workspace

    if target == "local":
        check_here(wanted, workspace)
    platform = connect(target, wanted, Workspace(workspace.resolve()))
    submitted = job(wanted, target, if_changed, reference(wanted, target, release))
    if target == "local":
        workspaces.made(workspace, wanted)
    started = platform.submit(submitted)
    if not started.id:
        _skip(started, as_json)
    elif no_wait:
        tell(f"to follow it: {pasteable('runs', 'attach', started.id, '--target', target, '--workspace', workspace)}")
        print(json.dumps(values(started)) if as_json else started.id)
    else:
        accompany(platform, started, workspace, as_json)


def _here(wanted: "Experiment", if_changed: bool, docker: bool, workspace: Path, as_json: bool) -> None:
    from pipelines.prerequisites import check_here
    from pipelines.targets import RunState
    from pipelines.targets.local import docker as containers
    from pipelines.targets.local import execution as local

    check_here(wanted, workspace)
    image = containers.image(wanted, workspace) if docker else None
    place = workspaces.made(workspace, wanted)
    if if_changed and (reason := _unchanged(wanted, place)) is not None:
        _skip(RunState("", wanted.name, "local", "skipped", reason=reason), as_json)
        return
    try:
        done = local.run(wanted, place, image)
    except local.StepError as error:
        if as_json:
            failed = _recorded(place, error.run, wanted)
            print(json.dumps({**failed, "status": "failed", "step": error.step, "reason": error.reason}))
        raise
    _summarise(done, workspace)
    if as_json:
        print(json.dumps({**_recorded(place, done.run, wanted), **asdict(done)}))


def _recorded(place: "Workspace", run: str, wanted: "Experiment") -> dict[str, Any]:
    from elboflow.settings import RequestError, WorkError
    from pipelines.commands.runs import values
    from pipelines.targets import RunState
    from pipelines.targets.local.client import LocalClient

    try:
        return values(LocalClient(place).run(run))
    except (RequestError, WorkError):  # a full disk keeps no record
        return values(RunState(run, wanted.name, "local", "failed"))


def _unchanged(wanted: "Experiment", place: "Workspace") -> str | None:
    from components.decide import changed
    from pipelines.targets.local.surroundings import tracking_uri

    change = changed(wanted.data, wanted.recorded(), tracking_uri(wanted, place))
    tell(change.reason)
    return None if change.changed else change.reason


def _skip(skipped: "RunState", as_json: bool) -> None:
    from pipelines.commands.runs import values

    tell(f"skipped: {skipped.reason or 'nothing changed'}")
    if as_json:
        print(json.dumps({**values(skipped), "run": None}))


def _summarise(done: "Run", workspace: Path) -> None:
    from rich.table import Table

    from pipelines.console import make_console

    console = make_console(stderr=True)
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
    console.print(f"report: {done.report}")
    console.print(f"MLflow: {pasteable('ui', '--workspace', workspace)}")


def _metrics(done: "Run") -> dict[str, dict[str, float]]:
    from elboflow.artifacts import read_json

    metrics: dict[str, dict[str, float]] = read_json(Path(done.evaluation) / "metrics.json", dict)
    return metrics
