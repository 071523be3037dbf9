"""`elboflow sweep`."""

import json
import signal
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from elboflow.settings import RequestError
from pipelines.commands import failures, options, tracking, workspaces
from pipelines.commands.outcome import show_log
from pipelines.commands.summary import summarise_sweep
from pipelines.commands.target_runs import started
from pipelines.commands.workspaces import check_here

if TYPE_CHECKING:
    from pipelines.experiment import Experiment
    from pipelines.sweeps.candidates import Plan

TRIALS = 30


def sweep(
    experiment: options.ExperimentArgument,
    over: Annotated[
        list[str],
        typer.Option(
            metavar="KEY=VALUES",
            help="What varies: model.latent=2,8,32. In a search, ranges too: model.latent=2..64, KEY=1e-4..1e-2:log.",
        ),
    ],
    search: Annotated[
        str | None, typer.Option(metavar="SAMPLER", help="Search instead of trying all: tpe, or random.")
    ] = None,
    trials: Annotated[int | None, typer.Option(min=1, help=f"Trials of a search; by default {TRIALS}.")] = None,
    prune: Annotated[
        bool | None,
        typer.Option(
            "--prune/--no-prune",
            help="Give up trials of a search below the median of the others.",
            show_default="prune",
        ),
    ] = None,
    parallel: Annotated[int, typer.Option(min=1, help="Trials at work at once.")] = 1,
    assignments: options.SetOption = None,
    env: options.EnvOption = None,
    date: options.DateOption = None,
    target: options.TargetOption = "local",
    no_wait: Annotated[bool, typer.Option("--no-wait", help="On a platform: start it, and do not follow it.")] = False,
    workspace: options.WorkspaceOption = options.DEFAULT_WORKSPACE,
    tracking_uri: tracking.TrackingOption = None,
    as_json: options.JsonOption = False,
) -> None:
    """Train an experiment with many values on one dataset; evaluate and register the best by validation bound.

    The same command again goes on with a sweep that was killed, and with the date of the data that it began with.
    """
    from pipelines.experiment import load

    if no_wait and target == "local":
        raise RequestError("--no-wait: a sweep on this machine is at work as long as its command; add & to the command")
    wanted = load(experiment, tracking.recorded_in(tracking_uri, options.on_date(date, assignments), target), env)
    wanted = wanted if wanted.date is None else wanted.dated()
    plan = planned(wanted, over, search, trials, prune, parallel, target)
    show_log()
    if target == "local":
        _here(plan, workspace, as_json)
    else:
        _submit(plan, target, no_wait, workspace, as_json)


def planned(
    wanted: "Experiment",
    over: list[str],
    search: str | None,
    trials: int | None,
    prune: bool | None,
    parallel: int,
    target: str,
) -> "Plan":
    """Returns what to try. All of it has been checked."""
    from pipelines.sweeps import axes, candidates
    from pipelines.sweeps.candidates import SAMPLERS, Plan, SearchSettings

    varied = axes.parse(over, wanted)
    if search is None:
        for option, value in {"--trials": trials, "--prune": prune}.items():
            if value is not None:
                raise RequestError(
                    f"{option}: a grid tries every combination to its end; a search takes it: --search tpe"
                )
        grid = axes.grid(varied)
        candidates.check(wanted.recorded(), grid)
        return Plan(wanted, varied, parallel, SearchSettings("grid", len(grid), prune=False))
    if search not in SAMPLERS:
        raise RequestError(f"--search {search}: unknown; allowed: {', '.join(SAMPLERS)}")
    if target == "vertex" and prune:
        raise RequestError("--prune: Vertex AI's tuning component knows no early stopping; searches that prune: local")
    candidates.check(wanted.recorded(), axes.corners(varied), same_twice=True)
    settings = SearchSettings(search, trials or TRIALS, prune if prune is not None else target == "local")
    return Plan(wanted, varied, parallel, settings)


def _here(plan: "Plan", workspace: Path, as_json: bool) -> None:
    from pipelines.targets.local import sweep as execution
    from pipelines.targets.local.runner import StepError
    from pipelines.workspace import Workspace

    check_here(execution.dated(plan, Workspace(workspace.resolve())), workspace, plan.backends)
    place = workspaces.made(workspace, plan.experiment)
    try:
        done = execution.run(plan, place)
    except KeyboardInterrupt as interrupt:
        advice = "the same command again goes on with the trials that are left"
        raise KeyboardInterrupt(interrupt.args[0] if interrupt.args else signal.SIGINT, advice) from None
    except StepError as error:
        failures.tell_failure(place, error.run)
        if as_json:
            failed: dict[str, Any] = {"run": error.run, "status": "failed", "step": error.step, "reason": error.reason}
            failed |= failures.values(place, error.run)
            print(json.dumps({**failed, "trials": execution.ended_trials(plan, error.run, place)}))
        raise
    summarise_sweep(done, workspace)
    if as_json:
        print(json.dumps(asdict(done)))


def _submit(plan: "Plan", target: str, no_wait: bool, workspace: Path, as_json: bool) -> None:
    from pipelines.connect import connect
    from pipelines.targets.submission import sweep_job
    from pipelines.workspace import Workspace

    job = sweep_job(plan, target)
    platform = connect(target, plan.experiment, Workspace(workspace.resolve()))
    started(platform, platform.submit(job), workspace, no_wait, as_json)
