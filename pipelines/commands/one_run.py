"""`elboflow status`, `logs` and `cancel`: one run, wherever it is, in the same words."""

import json
from collections.abc import Iterable
from typing import Annotated, Any

import typer

from pipelines.commands.options import JsonOption, RunArgument
from pipelines.commands.outcome import tell
from pipelines.commands.reached import Reached, found_run, has_ended, reaching, said, took, values


@reaching
def status(reached: Reached, run: RunArgument, as_json: JsonOption = False) -> None:
    """Show how far a run is, step by step. The exit code is 0 in every state."""
    state = found_run(reached.target, run)
    if as_json:
        print(json.dumps(values(state)))
        return
    from pipelines.console import print_table

    console = _console()
    console.print(f"{state.id}: {said(state)}")
    rows = [(step.name, step.status, took(step.started, step.ended), step.reason or "") for step in state.steps]
    if rows:
        print_table(("step", "status", "took", "reason"), rows)
    if state.link:
        console.print(state.link)


@reaching
def logs(
    reached: Reached,
    run: RunArgument,
    step: Annotated[str | None, typer.Option(metavar="STEP", help="Only this step's.")] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="With the lines of KFP's executor.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Print what a run's steps have printed so far."""
    from components.surroundings.masking import masked
    from elboflow.settings.terminal import printable
    from pipelines.step_process import messages

    place = reached.target
    lines: Iterable[str] = place.logs(found_run(place, run).id, step)
    if not verbose:
        lines = (line.replace(messages.MARK, "", 1) for line in messages.without_executor(lines))
    lines = map(masked, lines)
    if as_json:
        print(json.dumps({"run": run, "step": step, "lines": list(lines)}))
        return
    for line in lines:
        print(printable(line))


@reaching
def cancel(reached: Reached, run: RunArgument, as_json: JsonOption = False) -> None:
    """End a run; without effect on one that has ended."""
    place = reached.target
    id = found_run(place, run).id
    place.cancel(id)
    state = place.run(id)
    tell(f"{id}: {said(state) if has_ended(state) else f'ends as soon as {reached.name} has stopped its step'}")
    if as_json:
        print(json.dumps(values(state)))


def _console() -> Any:
    from pipelines.console import make_console

    console = make_console()
    if not console.is_terminal:
        console.width = 10_000  # a program that reads lines wants a run in one
    return console
