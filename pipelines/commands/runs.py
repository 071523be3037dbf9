"""`elboflow status`, `logs`, `cancel` and `runs`: runs, wherever they are, in the same words."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.commands import workspaces
from pipelines.commands.options import (
    DEFAULT_WORKSPACE,
    EnvOption,
    JsonOption,
    OfExperimentOption,
    RunArgument,
    TargetOption,
    WorkspaceOption,
)
from pipelines.commands.outcome import pasteable, tell

if TYPE_CHECKING:
    from pipelines.targets import RunState, Target

app = typer.Typer(help="List runs, or follow one that is at work.")


def status(
    run: RunArgument,
    target: TargetOption = "local",
    experiment: OfExperimentOption = None,
    env: EnvOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """Show how far a run is, step by step. The exit code is 0 in every state."""
    from pipelines.commands.found_run import found_run

    state = found_run(reach(target, experiment, env, workspace), run)
    if as_json:
        print(json.dumps(values(state)))
        return
    from rich.table import Table

    console = _console()
    console.print(f"{state.id}: {_said(state)}")
    table = Table("step", "status", "seconds", "reason", box=None)
    for step in state.steps:
        ended = step.ended or (datetime.now(step.started.tzinfo) if step.started else None)
        seconds = f"{(ended - step.started).total_seconds():.1f}" if step.started and ended else ""
        table.add_row(step.name, step.status, seconds, step.reason or "")
    if state.steps:
        console.print(table)
    if state.link:
        console.print(state.link)


def logs(
    run: RunArgument,
    step: Annotated[str | None, typer.Option(metavar="STEP", help="Only this step's.")] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="With the lines of KFP's executor.")] = False,
    target: TargetOption = "local",
    experiment: OfExperimentOption = None,
    env: EnvOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """Print what a run's steps have printed so far."""
    from components.surroundings.masking import masked
    from elboflow.settings.terminal import printable
    from pipelines import messages
    from pipelines.commands.found_run import found_run

    place = reach(target, experiment, env, workspace)
    lines: Iterable[str] = place.logs(found_run(place, run).id, step)
    if not verbose:
        lines = (line.replace(messages.MARK, "", 1) for line in messages.without_executor(lines))
    lines = map(masked, lines)
    if as_json:
        print(json.dumps({"run": run, "step": step, "lines": list(lines)}))
        return
    for line in lines:
        print(printable(line))


def cancel(
    run: RunArgument,
    target: TargetOption = "local",
    experiment: OfExperimentOption = None,
    env: EnvOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """End a run; without effect on one that has ended."""
    from pipelines.commands.found_run import found_run

    place = reach(target, experiment, env, workspace)
    id = found_run(place, run).id
    place.cancel(id)
    state = place.run(id)
    tell(
        f"{state.id}: {_said(state)}" if _ended(state) else f"{state.id}: ends as soon as {target} has stopped its step"
    )
    if as_json:
        print(json.dumps(values(state)))


@app.callback(invoke_without_command=True)
def runs(
    context: typer.Context,
    target: TargetOption = "local",
    experiment: OfExperimentOption = None,
    env: EnvOption = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many, the newest first.")] = 20,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """List runs, the newest first."""
    if context.invoked_subcommand is None:
        listed(target, experiment, env, limit, workspace, as_json)


@app.command("list")
def listed(
    target: TargetOption = "local",
    experiment: OfExperimentOption = None,
    env: EnvOption = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many, the newest first.")] = 20,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """List runs, the newest first."""
    found = reach(target, experiment, env, workspace).runs(limit)
    if target == "local":
        _tell_what_waits(workspace)
    if as_json:
        print(json.dumps({"runs": [values(run) for run in found]}))
        return
    if not found:
        tell(f"no runs on {target} yet")
        return
    from rich.table import Table

    from elboflow.settings.terminal import one_line

    table = Table(box=None)
    for name in ("run", "experiment", "status", "begun", "link"):
        table.add_column(name, overflow="fold")
    for run in found:
        begun = f"{run.created.astimezone():%Y-%m-%d %H:%M}" if run.created else ""
        table.add_row(one_line(run.id), one_line(run.experiment), run.status, begun, one_line(run.link or ""))
    _console().print(table)
    for run in found:
        if run.status == "damaged":
            tell(f"{run.id}: {run.reason}")


@app.command()
def attach(
    run: RunArgument,
    target: TargetOption = "local",
    experiment: OfExperimentOption = None,
    env: EnvOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """Follow a run that is at work. Ctrl-C asks nothing of it."""
    from pipelines.commands.found_run import found_run

    place = reach(target, experiment, env, workspace)
    state = found_run(place, run)
    accompany(place, state, workspace, as_json, _missed(place, state))


@app.command()
def retry(run: RunArgument, workspace: WorkspaceOption = DEFAULT_WORKSPACE, as_json: JsonOption = False) -> None:
    """Repeat a run of this machine from the step that failed."""
    from pipelines.commands.found_run import found_run
    from pipelines.commands.outcome import show_log
    from pipelines.commands.run import waited_for
    from pipelines.graphs.training import TRAINING
    from pipelines.prerequisites import check_here
    from pipelines.targets.local import resumption

    show_log()
    place = workspaces.found(workspace)
    name = found_run(reach("local", None, None, workspace), run).id
    experiment, part = resumption.failed_part(TRAINING, name, place)
    check_here(experiment, workspace)
    waited_for(experiment, workspaces.made(workspace, experiment), part, workspace, as_json, name=name)


def reach(target: str, experiment: str | None, env: str | None, workspace: Path) -> "Target":
    """Returns a target, as an experiment says how to reach it, or as the workspace remembers."""
    from pipelines.connect import connect

    wanted = None
    if experiment is not None:
        from pipelines.experiment import load

        wanted = load(experiment, env=env)
    return connect(target, wanted, workspaces.found(workspace))


def _missed(target: "Target", state: "RunState") -> Iterator[str]:
    """Yields what the steps of a run have told so far."""
    from elboflow.settings import RequestError, WorkError
    from pipelines import messages

    try:
        yield from messages.told(target.logs(state.id))
    except (RequestError, WorkError) as error:  # a run can be followed without its logs
        tell(str(error))


def accompany(target: "Target", state: "RunState", workspace: Path, as_json: bool, missed: Iterable[str] = ()) -> None:
    """Follows a run to its end, and ends the command as the run ended.

    Args:
        target: Where it runs.
        state: The run as it was last seen.
        workspace: The workspace of the command.
        as_json: Whether to end with one JSON object on standard output.
        missed: Lines to show first: what its steps have told so far.

    Raises:
        WorkError: The run failed or was cancelled, or could not be followed to its end.
    """
    from elboflow.settings import WorkError
    from pipelines.follow import LostError, follow

    if state.link:
        tell(state.link)
    for line in missed:
        tell(line)
    try:
        ended = follow(target, state)
    except BaseException as error:  # it is no error of the run
        again = pasteable("runs", "attach", state.id, "--target", target.name, "--workspace", workspace)
        tell(f"the run goes on; to follow it again: {again}")
        if as_json and isinstance(error, LostError):
            print(json.dumps(values(error.state)))
        raise
    if as_json:
        print(json.dumps(values(ended)))
    if ended.status not in ("succeeded", "skipped"):
        raise WorkError(f"{ended.id}: {_said(ended)}")
    tell(f"{ended.id}: {_said(ended)}")


def values(state: "RunState") -> dict[str, Any]:
    """Returns a run as JSON values; times in ISO 8601, in UTC."""
    from components.surroundings.masking import masked_values

    shown: dict[str, Any] = json.loads(json.dumps(asdict(state), default=datetime.isoformat))
    for told in (shown, *shown["steps"]):
        told["reason"] = masked_values(told["reason"])
    return {"run": shown.pop("id") or None, **shown}


def _tell_what_waits(workspace: Path) -> None:
    from elboflow.settings import RequestError, WorkError
    from pipelines.schedules.local import waiting
    from pipelines.workspace import Workspace

    try:
        count, places = waiting(Workspace(workspace.resolve()))
    except (RequestError, WorkError) as error:  # runs can be listed without schedules
        tell(str(error))
        return
    if count:
        runs = "run of a schedule waits" if count == 1 else "runs of schedules wait"
        at_once = f"; {places} may be at work at once" if places else ""
        tell(f"{count:,} {runs} in line{at_once}: {pasteable('schedule', 'list', '--workspace', workspace)}")


def _ended(state: "RunState") -> bool:
    from pipelines.targets import ENDED

    return state.status in ENDED


def _said(state: "RunState") -> str:
    if state.status != "failed":
        return f"{state.status}: {state.reason}" if state.reason else state.status
    step = next((step.name for step in state.steps if step.status == "failed"), None)
    return f"failed{f' in {step}' if step else ''}" + (f": {state.reason}" if state.reason else "")


def _console() -> Any:
    from pipelines.console import make_console

    console = make_console()
    if not console.is_terminal:
        console.width = 10_000  # a program that reads lines wants a run in one
    return console
