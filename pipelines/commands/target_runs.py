"""The target that a command asks, and its runs: found by a name or a part of it, followed, and shown, also as JSON."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cached_property, wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elboflow.settings import RequestError, WorkError
from pipelines.commands import failures, workspaces
from pipelines.commands.options import DEFAULT_WORKSPACE, EnvOption, OfExperimentOption, TargetOption, WorkspaceOption
from pipelines.commands.outcome import pasteable, tell
from pipelines.commands.ui import pages
from pipelines.targets import ENDED, RunState

if TYPE_CHECKING:
    from pipelines.targets import Target

LATEST = "latest"
SEARCHED = 200
"""The latest runs whose ids are compared with the beginning of one."""


@dataclass(frozen=True)
class ChosenTarget:
    """What the options of a command say of the target that it asks.

    Attributes:
        experiment: The experiment whose `targets` says how to reach it; None for as the workspace remembers.
    """

    name: str
    experiment: str | None
    env: str | None
    workspace: Path

    @cached_property
    def target(self) -> "Target":
        """The target, which is connected to when it is first asked for."""
        from pipelines.connect import connect

        wanted = None
        if self.experiment is not None:
            from pipelines.experiment import load

            wanted = load(self.experiment, env=self.env)
        return connect(self.name, wanted, workspaces.found(self.workspace))


def on_target(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the options that say which target it asks. Its first parameter is the `ChosenTarget`."""

    @wraps(command)
    def with_options(target: str, experiment: str | None, env: str | None, workspace: Path, **own: Any) -> None:
        command(ChosenTarget(target, experiment, env, workspace), **own)

    _, *own = signature(command).parameters.values()
    shared = list(signature(_options).parameters.values())
    parameters = [each.replace(kind=Parameter.KEYWORD_ONLY) for each in [*own, *shared]]
    with_options.__signature__ = Signature(parameters)  # type: ignore[attr-defined]  # which is what Typer reads
    with_options.__annotations__ = {each.name: each.annotation for each in parameters}
    return with_options


def _options(
    target: TargetOption = "local",
    experiment: OfExperimentOption = None,
    env: EnvOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Has the options of `on_target` as its parameters."""


def to_follow(run: str, target: str, workspace: Path) -> str:
    """Returns the command that follows a run."""
    return pasteable("runs", "attach", run, "--target", target, "--workspace", workspace)


def started(target: "Target", state: RunState, workspace: Path, no_wait: bool, as_json: bool) -> None:
    """Follows a new run to its end; with `no_wait`, prints how to."""
    if not state.id:
        skip(state, as_json)
    elif no_wait:
        tell_started(state, target.name, workspace, as_json)
    else:
        follow_to_end(target, state, workspace, as_json)


def skip(skipped: RunState, as_json: bool) -> None:
    """Ends a command whose run was not needed."""
    tell(f"skipped: {skipped.reason or 'nothing changed'}")
    if as_json:
        print(json.dumps(values(skipped)))


def tell_started(started: RunState, target: str, workspace: Path, as_json: bool) -> None:
    """Prints the name of a new run, and how to follow it."""
    tell(f"to follow it: {to_follow(started.id, target, workspace)}")
    print(json.dumps(values(started)) if as_json else started.id)


def follow_to_end(
    target: "Target", state: "RunState", workspace: Path, as_json: bool, missed: Iterable[str] = ()
) -> None:
    """Follows a run to its end, and ends the command as the run ended.

    Args:
        as_json: Whether to end with one JSON object on standard output.
        missed: Lines to show first: what its steps have told so far.

    Raises:
        WorkError: The run failed or was cancelled, or could not be followed to its end.
    """
    from pipelines.follow import LostError, follow

    if state.link:
        tell(state.link)
    shown = []
    for line in missed:
        tell(line)
        shown.append(line)
    try:
        ended = follow(target, state)
    except BaseException as error:  # it is no error of the run
        again = to_follow(state.id, target.name, workspace)
        tell(f"the run goes on; to follow it again: {again}")
        if as_json and isinstance(error, LostError):
            print(json.dumps(values(error.state)))
        raise
    if as_json:
        print(json.dumps(values(ended)))
    if ended.status not in ("succeeded", "skipped"):
        failures.tell_failure_on(target, ended, workspace)
        if target.name != "local":
            again = pasteable("runs", "retry", ended.id, "--target", target.name, "--workspace", workspace)
            tell(f"to repeat it from the step that failed: {again}")
        raise WorkError(f"{ended.id}: {status_and_reason(ended)}")
    tell(f"{ended.id}: {status_and_reason(ended)}")
    for line in _registered(target, ended.id, workspace) if ended.status == "succeeded" else ():
        if not any(each.endswith(line) for each in shown):  # behind the name of the step
            tell(line)


def _registered(target: "Target", run: str, workspace: Path) -> Iterator[str]:
    """Yields what the last step of a run told: the version, the verdict, and where MLflow shows them."""
    if target.name == "local":
        from pipelines.targets.local import artifacts

        if (made := artifacts.of_run(workspace.resolve() / "runs" / run).get("registration")) is not None:
            yield from pages(made.metadata, workspace)
        return
    from pipelines.step_process import messages

    try:
        yield from messages.for_people(target.logs(run, "register"))
    except RequestError:
        return  # it has no such step, or took over what another run had registered
    except WorkError as error:
        tell(str(error))


def found_run(target: "Target", word: str) -> "RunState":
    """Returns the run that a word means: its id, the beginning of one, or `latest`. RequestError unless it is one."""
    if word == LATEST:
        newest = target.runs(1)
        if not newest:
            raise RequestError(f"{LATEST}: there are no runs on {target.name} yet")
        return target.run(newest[0].id)
    try:
        return target.run(word)
    except RequestError:
        matching = [run.id for run in target.runs(SEARCHED) if run.id.startswith(word)] if word else []
        if not matching:
            raise
    if len(matching) > 1:
        raise RequestError(
            f"{word}: {len(matching)} runs begin so: {', '.join(matching[:3])}{', …' if matching[3:] else ''}"
        )
    return target.run(matching[0])


def values(state: "RunState") -> dict[str, Any]:
    """Returns a run as JSON values; times in ISO 8601, in UTC."""
    from components.surroundings.masking import masked_values

    shown: dict[str, Any] = json.loads(json.dumps(asdict(state), default=datetime.isoformat))
    for told in (shown, *shown["steps"]):
        told["reason"] = masked_values(told["reason"])
    return {"run": shown.pop("id") or None, **shown}


def start_time(run: "RunState") -> str:
    """Returns when a run began, in the time of this machine."""
    return f"{run.created.astimezone():%Y-%m-%d %H:%M}" if run.created else ""


def duration(started: datetime | None, ended: datetime | None) -> str:
    """Returns how long something took, or has taken so far."""
    if started is None:
        return ""
    seconds = ((ended or datetime.now(started.tzinfo)) - started).total_seconds()
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds >= 0 else ""  # the clock was put back
    minutes, hours = seconds / 60, seconds / 3600
    return f"{int(minutes)} min {seconds % 60:02.0f} s" if hours < 1 else f"{int(hours)} h {int(minutes) % 60:02} min"


def has_ended(state: "RunState") -> bool:
    """Returns whether a run has ended."""
    return state.status in ENDED


def status_and_reason(state: "RunState") -> str:
    """Returns a run's status, with the reason for it."""
    if state.status != "failed":
        return f"{state.status}: {state.reason}" if state.reason else state.status
    step = next((step.name for step in state.steps if step.status == "failed"), None)
    return f"failed{f' in {step}' if step else ''}" + (f": {state.reason}" if state.reason else "")
