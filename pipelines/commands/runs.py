"""`elboflow runs`: runs, wherever they are, listed, followed and repeated."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from elboflow.settings import RequestError, WorkError
from pipelines.commands import tracking, workspaces
from pipelines.commands.options import (
    DEFAULT_WORKSPACE,
    EnvOption,
    JsonOption,
    NoWaitOption,
    RunArgument,
    TargetOption,
    WorkspaceOption,
    named,
)
from pipelines.commands.outcome import pasteable, tell
from pipelines.commands.target_runs import (
    ChosenTarget,
    duration,
    follow_to_end,
    found_run,
    on_target,
    start_time,
    started,
    values,
)
from pipelines.targets import STATUSES

if TYPE_CHECKING:
    from pipelines.targets import RunState, Target

SEARCHED = 1000
"""The latest runs that are looked at where only some of them are wanted."""

WhoseRunsOption = Annotated[
    str | None,
    typer.Option(
        "--experiment",
        metavar="EXPERIMENT",
        help="Only runs of this experiment; its `targets` says how to reach them.",
        callback=named,
    ),
]
StatusOption = Annotated[
    str | None, typer.Option(metavar="STATUS", help=f"Only runs that are {', '.join(STATUSES[:-1])} or {STATUSES[-1]}.")
]

app = typer.Typer(help="List runs, follow one that is at work, or repeat one that failed.")


@app.callback(invoke_without_command=True)
def runs(
    context: typer.Context,
    target: TargetOption = "local",
    experiment: WhoseRunsOption = None,
    env: EnvOption = None,
    status: StatusOption = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many, the newest first.")] = 20,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """List runs, the newest first."""
    if context.invoked_subcommand is None:
        listed(target, experiment, env, status, limit, workspace, as_json)


@app.command("list")
def listed(
    target: TargetOption = "local",
    experiment: WhoseRunsOption = None,
    env: EnvOption = None,
    status: StatusOption = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many, the newest first.")] = 20,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """List runs, the newest first."""

    if status is not None and status not in STATUSES:
        raise RequestError(f"--status {status}: unknown; allowed: {', '.join(STATUSES)}")
    known, wanted = _of(experiment, target)
    asked = limit if wanted is None and status is None else SEARCHED
    found = [
        run
        for run in ChosenTarget(target, known, env, workspace).target.runs(asked)
        if wanted in (None, run.experiment) and status in (None, run.status)
    ][:limit]
    if target == "local":
        _tell_what_waits(workspace)
    if as_json:
        print(json.dumps({"runs": [values(run) for run in found]}))
        return
    if not found:
        tell(f"no runs on {target} yet" if asked == limit else f"no such runs among the latest {asked:,} on {target}")
        return
    from pipelines.console import print_table

    rows = [
        (run.id, run.status, start_time(run), duration(run.created, run.ended), run.experiment, run.link or "")
        for run in found
    ]
    print_table(("run", "status", "begun", "took", "experiment", "link"), rows)
    for run in found:
        if run.status == "damaged":
            tell(f"{run.id}: {run.reason}")


@app.command()
@on_target
def attach(
    chosen: ChosenTarget,
    run: RunArgument,
    as_json: JsonOption = False,
) -> None:
    """Follow a run that is at work. Ctrl-C asks nothing of it."""
    state = found_run(chosen.target, run)
    follow_to_end(chosen.target, state, chosen.workspace, as_json, _missed(chosen.target, state))


@app.command()
@on_target
def retry(
    chosen: ChosenTarget,
    run: RunArgument,
    no_wait: NoWaitOption = False,
    tracking_uri: tracking.RecordedOption = None,
    as_json: JsonOption = False,
) -> None:
    """Repeat a run from the step that failed, with what its finished steps made: on Vertex AI, as a new run."""
    from pipelines.commands.outcome import show_log

    assignments = tracking.recorded_in(tracking_uri, None, chosen.name)
    if tracking_uri is not None and no_wait:
        raise RequestError("--tracking-uri: with --no-wait, a run is repeated in the MLflow that it is recorded in")
    show_log()
    failed = found_run(chosen.target, run).id
    if chosen.name == "local" and not no_wait:
        _retry_here(failed, assignments, chosen.workspace, as_json)
        return
    state = chosen.target.retry(failed)
    if state.id != failed:
        tell(f"{state.id} repeats {failed} from the step that failed, with what its finished steps made")
    started(chosen.target, state, chosen.workspace, no_wait, as_json)


def _retry_here(run: str, assignments: Sequence[str], workspace: Path, as_json: bool) -> None:
    """Repeats a run of this machine; `assignments` change its experiment, where they name another MLflow."""
    from pipelines.commands.run import waited_for
    from pipelines.commands.workspaces import check_here
    from pipelines.graphs.training import TRAINING
    from pipelines.targets.local import resumption
    from pipelines.targets.local.record import read
    from pipelines.targets.local.surroundings import return_to

    place = workspaces.found(workspace)
    experiment, part = resumption.failed_part(TRAINING, run, place, assignments)
    record = read(place.runs / run)
    assert record is not None  # `failed_part` has read it
    if not assignments:
        return_to(record.tracking_uri, experiment, place)
    check_here(experiment, workspace)
    waited_for(experiment, workspaces.made(workspace, experiment), part, workspace, as_json, name=run)


def _missed(target: "Target", state: "RunState") -> Iterator[str]:
    """Yields what the steps of a run have told so far."""
    from pipelines.step_process import messages

    try:
        yield from messages.for_people(target.logs(state.id))
    except (RequestError, WorkError) as error:  # a run can be followed without its logs
        tell(str(error))


def _tell_what_waits(workspace: Path) -> None:
    from pipelines.schedules.lookup import waiting
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


def _of(experiment: str | None, target: str) -> tuple[str | None, str | None]:
    """Returns the experiment that says how to reach a target, and the name of the one whose runs are wanted.

    On this machine the name is enough, also of an experiment whose file is gone.
    """
    if experiment is None:
        return None, None
    from pipelines.experiment import load

    try:
        return experiment, load(experiment).name
    except RequestError:
        if target != "local":
            raise
        return None, experiment
