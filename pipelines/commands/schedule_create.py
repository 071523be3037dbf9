"""`elboflow schedule create`: a schedule by hand."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer

from elboflow.settings import RequestError
from pipelines.commands import options, tracking
from pipelines.commands.outcome import pasteable, show_log, tell
from pipelines.commands.run import check_settings
from pipelines.commands.schedule_apply import check_name
from pipelines.commands.workspaces import check_here

if TYPE_CHECKING:
    from pipelines.timing import CatchUp

MomentOption = Annotated[str | None, typer.Option(metavar="TIME", help="2026-12-01 or 2026-12-01T06:00.")]


def create(
    experiment: options.ExperimentArgument,
    cron: Annotated[
        str | None,
        typer.Option(help="Minute, hour, day of month, month, day of week; by default the experiment's schedule.cron."),
    ] = None,
    timezone: Annotated[
        str | None, typer.Option(metavar="ZONE", help="Such as Europe/Berlin; by default schedule.timezone, or UTC.")
    ] = None,
    target: options.TargetOption = "local",
    if_changed: Annotated[
        bool, typer.Option("--if-changed", help="Skip a run if neither data nor experiment changed since a success.")
    ] = False,
    max_active: Annotated[
        int, typer.Option(min=1, metavar="N", help="Runs of this schedule that may be active at once.")
    ] = 1,
    catch_up: Annotated[
        str | None,
        typer.Option(
            metavar="none|last|all",
            help="Which missed ticks to make up for; by default none, and on kubeflow, which has no none, last.",
        ),
    ] = None,
    start: MomentOption = None,
    end: MomentOption = None,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Call it so; a name that another schedule has is refused.")
    ] = None,
    env: options.EnvOption = None,
    assignments: options.SetOption = None,
    release: options.ReleaseOption = None,
    workspace: options.WorkspaceOption = options.DEFAULT_WORKSPACE,
    tracking_uri: tracking.KeptOption = None,
    as_json: options.JsonOption = False,
) -> None:
    """Make a schedule of an experiment. It holds a copy of it as it is now. Its id goes to standard output."""
    from pipelines.commands.timetable import values
    from pipelines.connect import connect
    from pipelines.experiment import load
    from pipelines.releases import reference
    from pipelines.schedules.files import experiment_files, require_cron, require_schedulable
    from pipelines.schedules.lookup import twin
    from pipelines.targets import Naming
    from pipelines.targets.submission import job
    from pipelines.timing import Timing
    from pipelines.timing.calendar import check, moment, on_wall_clock, to_catch_up
    from pipelines.timing.cron import portable
    from pipelines.workspace import Workspace, open_to_write

    check_settings(assignments or (), release)
    if name is not None:
        check_name("--name", name)
    wanted = load(experiment, tracking.kept(tracking_uri, assignments, target), env)
    if cron is None and wanted.schedule is None:
        raise RequestError(
            "--cron: missing; give it, such as --cron '0 2 * * *', or the experiment a section `schedule`"
        )
    section = wanted.schedule
    zone = timezone if timezone is not None else section.timezone if section else "UTC"
    timing = Timing(
        cron=cron if cron is not None else section.when if section else "",
        timezone=zone,
        start=None if start is None else moment("--start", start, zone),
        end=None if end is None else moment("--end", end, zone),
        max_active=max_active,
        catch_up=_catch_up(catch_up if catch_up is not None else "last" if target == "kubeflow" else "none"),
    )
    require_cron(timing, target)
    require_schedulable(wanted, timing, target)
    check(timing)
    if target != "local":
        timing = replace(timing, cron=portable(timing.cron))
    show_log()
    if target == "local":
        check_here(wanted, workspace)
    place = open_to_write(workspace) if target == "local" else Workspace(workspace.resolve())
    there = connect(target, wanted, place)
    published = reference(wanted, target, release)
    wanted_job = replace(job(wanted, target, if_changed, published), files=(files := experiment_files(experiment, env)))
    if target == "local" and (same := twin(place, wanted_job, timing, if_changed)) is not None:
        tell(
            f"{same} does the same; to have only one: {pasteable('schedule', 'delete', same, '--workspace', workspace)}"
        )
    made = there.create_schedule(wanted_job, timing, if_changed, None if name is None else Naming(name))
    if release is None:
        later = f": to take over a later change of {' or '.join(map(str, files))}, create it anew" if files else ""
        tell(f"{made.id} holds a copy of the experiment as it is now{later}")
    if target != "vertex" and (missed := to_catch_up(timing, datetime.now(UTC))):
        begin = "as soon as a scheduler is at work" if target == "local" else "at once"
        tell(f"ticks since --start that are made up for, beginning {begin}: {missed:,}")
    if made.next is not None:
        tell(f"first run: {on_wall_clock(made.next, made.timing.timezone)}")
    if target == "local":
        _tell_if_nobody_runs_it(workspace)
    print(json.dumps(values(made)) if as_json else made.id)


def _catch_up(wanted: str) -> "CatchUp":
    from pipelines.timing import CatchUp

    if wanted not in get_args(CatchUp):
        raise RequestError(f"--catch-up {wanted}: expected one of {', '.join(get_args(CatchUp))}")
    return cast(CatchUp, wanted)


def _tell_if_nobody_runs_it(workspace: Path) -> None:
    from pipelines.schedules.heartbeat import trouble

    if (reason := trouble(workspace.resolve())) is not None:
        tell(f"{reason}: its ticks run under {pasteable('scheduler', '--workspace', workspace)}")
