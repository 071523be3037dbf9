"""What a command shows of a step that failed: a block to copy, and a field of its JSON."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from elboflow.settings import RequestError, WorkError
from pipelines.commands.outcome import pasteable, tell

if TYPE_CHECKING:
    from pipelines.targets import RunState, Target
    from pipelines.targets.local.failure import FailedStep
    from pipelines.workspace import Workspace


def tell_failure(workspace: "Workspace", run: str) -> None:
    """Prints the block of the step that failed, if one did."""
    from pipelines.targets.local.failure import failed_step

    if (failed := failed_step(workspace, run)) is None:
        return
    lines = [_heading(failed.step, run)]
    lines += [f"{name}: {path}" for name, path in failed.inputs.items()]
    lines += [f"settings: {failed.settings}", f"the end of {failed.log}:"]
    lines += [f"  {line}" for line in failed.last_lines] or ["  (nothing)"]
    if failed.lacks_secret:
        lines.append("put the secrets back into the settings, where *** stands for them, and then:")
    tell("\n".join([*lines, *filter(None, [_command(failed)])]))


def tell_failure_on(target: "Target", state: "RunState", workspace: Path) -> None:
    """Prints the block of the step of a platform's run that failed, if it is one that a command repeats here."""
    from pipelines.targets import recorded_step
    from pipelines.targets.local.failure import last_lines

    step = next((each.name for each in state.steps if each.status == "failed"), None)
    if step is None or step not in recorded_step.READS or not isinstance(target, recorded_step.Platform):
        return
    lines = [_heading(step, state.id)]
    try:
        recorded = recorded_step.on_platform(target, state, step)
        lines += [f"{name}: {uri}" for name, uri in recorded.inputs.items()]
        ending = last_lines(target.logs(state.id, step))
    except (RequestError, WorkError) as error:
        lines.append(str(error))
    else:
        lines += ["the end of its log:", *(f"  {line}" for line in ending or ("(nothing)",))]
    output = () if step == "register" else ("--output", step)
    on = ("--target", target.name, "--workspace", workspace)
    tell("\n".join([*lines, pasteable("step", step, "--from-run", state.id, *on, *output)]))


def _heading(step: str, run: str) -> str:
    return f"--- {step} of {run} failed; to repeat it here, alone ---"


def tell_repetition(workspace: "Workspace", run: str) -> None:
    """Prints the command alone, below the log of a run."""
    from pipelines.targets.local.failure import failed_step

    failed = failed_step(workspace, run)
    if failed is not None and failed.repeat:
        tell(f"to repeat {failed.step} alone: {_command(failed)}")


def values(workspace: "Workspace", run: str) -> dict[str, Any]:
    """Returns that block as the field `failure` of a JSON object; no field where no step failed."""
    from pipelines.targets.local import failure

    failed = failure.failed_step(workspace, run)
    return {} if failed is None else {"failure": failure.values(failed, _command(failed))}


def _command(failed: "FailedStep") -> str:
    return pasteable(*failed.repeat, directory=failed.directory) if failed.repeat else ""
