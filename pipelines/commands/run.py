"""`elboflow run`."""

import json
import signal
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from elboflow.settings import RequestError, WorkError
from pipelines.commands import failures, options, tracking, workspaces
from pipelines.commands.outcome import pasteable, show_log, tell
from pipelines.commands.summary import summarise_run
from pipelines.commands.target_runs import skip, started, values
from pipelines.commands.workspaces import check_here
from pipelines.targets import RunState

if TYPE_CHECKING:
    from pipelines.experiment import Experiment
    from pipelines.targets.local.resumption import Part
    from pipelines.workspace import Workspace


def run(
    experiment: options.ExperimentArgument,
    assignments: options.SetOption = None,
    env: options.EnvOption = None,
    date: options.DateOption = None,
    target: options.TargetOption = "local",
    if_changed: Annotated[
        bool, typer.Option("--if-changed", help="Only if data or experiment differ from those of the last success.")
    ] = False,
    no_wait: options.NoWaitOption = False,
    release: options.ReleaseOption = None,
    first: Annotated[
        str | None, typer.Option("--from", metavar="STEP", help="Begin with this step, after what an earlier run made.")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="STEP", help="End after this step.")] = None,
    docker: Annotated[
        bool, typer.Option("--docker", help="Run the steps in containers of targets.local.image, on this machine.")
    ] = False,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Make everything anew, also what an earlier run made of the same.")
    ] = False,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="All of it in half a minute: few examples, two steps, a throw-away MLflow.")
    ] = False,
    workspace: options.WorkspaceOption = options.DEFAULT_WORKSPACE,
    tracking_uri: tracking.TrackingOption = None,
    as_json: options.JsonOption = False,
) -> None:
    """Run the whole pipeline: raw data in, a registered model out."""
    from pipelines.experiment import load

    check_settings(assignments or (), release)
    if smoke and (target != "local" or no_wait or release or if_changed or first or tracking_uri):
        raise RequestError(
            "--smoke: tries the experiment on this machine, anew and in an MLflow of its own; it goes with --env, "
            "--set, --until, --docker, --workspace and --json"
        )
    if docker and (target != "local" or no_wait):
        raise RequestError("--docker: runs steps in containers of this machine, and waits for them")
    if no_cache and (target != "local" or no_wait or first):
        raise RequestError("--no-cache: is of all steps of a run on this machine, which is waited for")
    if (first or until) and (target != "local" or no_wait):
        raise RequestError("--from, --until: parts of a pipeline run on this machine, and are waited for")
    given = tracking.recorded_in(tracking_uri, options.on_date(date, assignments), target)
    wanted = load(experiment, given, env)
    if target == "local" or wanted.date is not None:
        wanted = wanted.dated()
    show_log()
    if smoke:
        _smoke(wanted, docker, until, workspace, as_json)
    elif target != "local" or no_wait or release is not None:
        _submit(wanted, target, if_changed, release, no_wait, workspace, as_json)
    else:
        _here(wanted, if_changed, docker, (first, until), workspace, as_json, not no_cache)


def check_settings(assignments: Sequence[str], release: str | None) -> None:
    """Refuses settings that would have no effect: a published version runs as it was published.

    Raises:
        RequestError: There is one, of something else than how to reach a target.
    """
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
    from pipelines.connect import connect
    from pipelines.releases import reference
    from pipelines.targets.submission import job
    from pipelines.workspace import Workspace

    if target == "local":
        check_here(wanted, workspace)
    platform = connect(target, wanted, Workspace(workspace.resolve()))
    submitted = job(wanted, target, if_changed, reference(wanted, target, release))
    if target == "local":
        workspaces.made(workspace, wanted)
    started(platform, platform.submit(submitted), workspace, no_wait, as_json)


def _here(
    wanted: "Experiment",
    if_changed: bool,
    docker: bool,
    steps: tuple[str | None, str | None],
    workspace: Path,
    as_json: bool,
    cache: bool = True,
    announced: bool = True,
) -> None:
    from pipelines.graphs.training import TRAINING
    from pipelines.targets.local import docker as containers
    from pipelines.targets.local import resumption

    check_here(wanted, workspace)
    image = containers.image(wanted, workspace) if docker else None
    place = workspaces.made(workspace, wanted)
    if if_changed and (reason := _unchanged(wanted, place)) is not None:
        skip(RunState("", wanted.name, "local", "skipped", reason=reason), as_json)
        return
    part = replace(resumption.part(TRAINING, wanted, place, *steps), cache=cache, announced=announced)
    waited_for(wanted, place, part, workspace, as_json, image=image)


def _smoke(wanted: "Experiment", docker: bool, until: str | None, workspace: Path, as_json: bool) -> None:
    from elboflow.settings.text import short_path
    from pipelines.experiment.smoke import REDUCED, reduced
    from pipelines.targets.local import smoke

    small = reduced(wanted)
    with smoke.workspace(workspace, wanted.name) as place:
        tell(f"{REDUCED}; all in {short_path(place.folder)}, which the next smoke run removes")
        # A process that makes the run in MLflow at once would import MLflow once more than the steps do.
        try:
            _here(small, False, docker, (None, until), place.folder, as_json, announced=False)
        except KeyboardInterrupt as interrupt:
            number = interrupt.args[0] if interrupt.args else signal.SIGINT
            raise KeyboardInterrupt(number, "the next smoke run begins anew") from None


def waited_for(
    wanted: "Experiment",
    place: "Workspace",
    part: "Part",
    workspace: Path,
    as_json: bool,
    name: str | None = None,
    image: str | None = None,
) -> None:
    """Runs an experiment, or a part of it, and shows what came out."""
    from pipelines.targets.local import execution as local
    from pipelines.targets.local.runner import StepError

    again = pasteable("runs", "retry", "RUN", "--workspace", workspace)
    try:
        done = local.outcome(local.execute(wanted, place, name=name, image=image, part=part))
    except StepError as error:
        failures.tell_failure(place, error.run)
        if as_json:
            failed = {**_recorded(place, error.run, wanted), **failures.values(place, error.run)}
            print(json.dumps({**failed, "status": "failed", "step": error.step, "reason": error.reason}))
        tell(f"to repeat it from {error.step} on: {again.replace('RUN', error.run)}")
        raise
    except KeyboardInterrupt as interrupt:
        advice = "the same command again goes on from the last checkpoint of the training"
        raise KeyboardInterrupt(interrupt.args[0] if interrupt.args else signal.SIGINT, advice) from None
    summarise_run(done, workspace)
    if as_json:
        print(json.dumps({**_recorded(place, done.run, wanted), **asdict(done)}))


def _recorded(place: "Workspace", run: str, wanted: "Experiment") -> dict[str, Any]:
    from pipelines.targets.local.client import LocalClient

    try:
        return values(LocalClient(place).run(run))
    except (RequestError, WorkError):  # a full disk keeps no record
        return values(RunState(run, wanted.name, "local", "failed"))


def _unchanged(wanted: "Experiment", place: "Workspace") -> str | None:
    from components.decide import changed
    from pipelines.targets.local.surroundings import tracking_uri

    change = changed(wanted.data_of_date, wanted.recorded(), tracking_uri(wanted, place))
    tell(change.reason)
    return None if change.changed else change.reason
