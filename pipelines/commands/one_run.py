"""`elboflow status`, `logs` and `cancel`: one run, wherever it is, in the same words."""

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.commands import failures, workspaces
from pipelines.commands.options import JsonOption, RunArgument
from pipelines.commands.outcome import tell
from pipelines.commands.target_runs import (
    ChosenTarget,
    duration,
    found_run,
    has_ended,
    on_target,
    status_and_reason,
    values,
)

if TYPE_CHECKING:
    from pipelines.workspace import Workspace


@on_target
def status(chosen: ChosenTarget, run: RunArgument, as_json: JsonOption = False) -> None:
    """Show how far a run is, step by step. The exit code is 0 in every state."""
    state = found_run(chosen.target, run)
    place = _workspace(chosen)
    if as_json:
        print(json.dumps({**values(state), **(failures.values(place, state.id) if place else {})}))
        return
    from pipelines.console import print_table

    console = _console()
    console.print(f"{state.id}: {status_and_reason(state)}")
    rows = [(step.name, step.status, duration(step.started, step.ended), step.reason or "") for step in state.steps]
    if rows:
        print_table(("step", "status", "took", "reason"), rows)
    if state.link:
        console.print(state.link)
    if place:
        failures.tell_failure(place, state.id)
    elif state.status == "failed":
        failures.tell_failure_on(chosen.target, state, chosen.workspace)


@on_target
def logs(
    chosen: ChosenTarget,
    run: RunArgument,
    step: Annotated[str | None, typer.Option(metavar="STEP", help="Only this step's.")] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="With the lines of KFP's executor.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Print what a run's steps have printed so far."""
    from components.surroundings.masking import masked
    from elboflow.settings.terminal import printable
    from pipelines.step_process import messages

    target, place = chosen.target, _workspace(chosen)
    id = found_run(target, run).id
    lines: Iterable[str] = target.logs(id, step)
    if not verbose:
        lines = (line.replace(messages.MARK, "", 1) for line in messages.without_executor(lines))
    lines = map(masked, lines)
    if as_json:
        failure = failures.values(place, id) if place else {}
        print(json.dumps({"run": run, "step": step, "lines": list(lines), **failure}))
        return
    for line in lines:
        print(printable(line))
    if place:
        failures.tell_repetition(place, id)


@on_target
def cancel(chosen: ChosenTarget, run: RunArgument, as_json: JsonOption = False) -> None:
    """End a run; without effect on one that has ended."""
    place = chosen.target
    id = found_run(place, run).id
    place.cancel(id)
    state = place.run(id)
    ending = status_and_reason(state) if has_ended(state) else f"ends as soon as {chosen.name} has stopped its step"
    tell(f"{id}: {ending}")
    if as_json:
        print(json.dumps(values(state)))


def _workspace(chosen: ChosenTarget) -> "Workspace | None":
    """Returns the workspace of runs of this machine; None on a platform."""
    return workspaces.found(chosen.workspace) if chosen.name == "local" else None


def _console() -> Any:
    from pipelines.console import make_console

    console = make_console()
    if not console.is_terminal:
        console.width = 10_000  # a program that reads lines wants a run in one
    return console
