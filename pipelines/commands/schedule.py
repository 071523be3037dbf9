"""`elboflow schedule …`: runs that come by themselves, in the same words on every target."""

import json
from typing import Annotated

import typer

from elboflow.settings import RequestError
from pipelines.commands import options, tracking
from pipelines.commands.outcome import show_log, tell
from pipelines.commands.schedule_apply import apply
from pipelines.commands.schedule_create import create
from pipelines.commands.target_runs import ChosenTarget, on_target, tell_started

app = typer.Typer(no_args_is_help=True, help="Run an experiment again and again, at the times that a cron says.")

app.command()(create)
app.command()(apply)

ScheduleArgument = Annotated[
    str, typer.Argument(metavar="ID", help="A schedule, as `elboflow schedule list` lists it, or its name.")
]


@app.command("list")
@on_target
def listed(
    chosen: ChosenTarget,
    all_targets: Annotated[
        bool,
        typer.Option("--all-targets", help="Of this machine, and of every platform that the workspace was used with."),
    ] = False,
    as_json: options.JsonOption = False,
) -> None:
    """List schedules."""
    from pipelines.commands.timetable import print_schedules
    from pipelines.workspace import Workspace

    if all_targets:
        from pipelines.connect import of_all_targets

        print_schedules(*of_all_targets(Workspace(chosen.workspace.resolve())), as_json)
    else:
        print_schedules(chosen.target.schedules(), None, as_json)


@app.command()
@on_target
def show(chosen: ChosenTarget, id: ScheduleArgument, as_json: options.JsonOption = False) -> None:
    """Show a schedule."""
    from pipelines.commands.timetable import print_schedule

    print_schedule(chosen.target.schedule(id), as_json)


@app.command()
@on_target
def pause(chosen: ChosenTarget, id: ScheduleArgument, as_json: options.JsonOption = False) -> None:
    """Let a schedule's ticks pass without runs, those that wait in line among them, until it is resumed."""
    from pipelines.commands.timetable import print_schedule

    place = chosen.target
    place.pause(id)
    print_schedule(place.schedule(id), as_json)


@app.command()
@on_target
def resume(chosen: ChosenTarget, id: ScheduleArgument, as_json: options.JsonOption = False) -> None:
    """Let a paused schedule go on."""
    from pipelines.commands.timetable import print_schedule

    place = chosen.target
    place.resume(id)
    print_schedule(place.schedule(id), as_json)


@app.command()
@on_target
def run(
    chosen: ChosenTarget,
    id: ScheduleArgument,
    tracking_uri: tracking.LaunchedOption = None,
    as_json: options.JsonOption = False,
) -> None:
    """Run what a schedule runs now, besides its ticks, and do not wait for it."""
    tracking.use(tracking_uri, chosen.name)
    kept = None if tracking_uri is None else chosen.target.schedule(id).tracking_uri
    if tracking_uri is not None and kept is not None and kept.rstrip("/") != tracking_uri.rstrip("/"):
        raise RequestError(f"--tracking-uri: the schedule {id} keeps {kept}; for another MLflow, create it anew")
    tell_started(chosen.target.trigger(id), chosen.name, chosen.workspace, as_json)


@app.command()
@on_target
def backfill(
    chosen: ChosenTarget,
    id: ScheduleArgument,
    first: Annotated[str, typer.Option("--from", metavar="DAY", help="The first day, such as 2026-11-01.")],
    last: Annotated[str, typer.Option("--to", metavar="DAY", help="The last day, which runs, too.")],
    again: Annotated[bool, typer.Option("--again", help="Run the dates that have succeeded, too.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the dates, and run none.")] = False,
    as_json: options.JsonOption = False,
) -> None:
    """Run a schedule for the dates of past ticks, in their order. After a kill, the same command goes on."""
    from pipelines.commands.schedule_backfill import run_dates
    from pipelines.schedules.backfill import day

    run_dates(chosen, id, (day("--from", first), day("--to", last)), again, dry_run, as_json)


@app.command()
@on_target
def delete(chosen: ChosenTarget, id: ScheduleArgument, as_json: options.JsonOption = False) -> None:
    """Delete a schedule. Its runs stay, and those at work go on; what waits in line does not run."""
    chosen.target.delete(id)
    print(json.dumps({"schedule": id, "target": chosen.name, "status": "deleted"}) if as_json else id)


@app.command()
@on_target
def history(
    chosen: ChosenTarget,
    id: ScheduleArgument,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many, the newest first.")] = 50,
    as_json: options.JsonOption = False,
) -> None:
    """Show what became of a schedule's ticks, the newest first."""
    from pipelines.commands.timetable import print_history

    show_log()
    place = chosen.target
    schedule = place.schedule(id)
    if schedule.status == "deleted":
        tell(f"{id} was {schedule.reason}")
    print_history(place.history(id, limit), schedule.timing.timezone, as_json)
