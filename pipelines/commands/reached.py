"""A target that a command reaches, and a run there that it follows."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property, wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.commands import workspaces
from pipelines.commands.options import (
    DEFAULT_WORKSPACE,
    EnvOption,
    OfExperimentOption,
    TargetOption,
    WorkspaceOption,
)
from pipelines.commands.outcome import pasteable, tell
from pipelines.commands.run_words import said, values

if TYPE_CHECKING:
    from pipelines.targets import RunState, Target


@dataclass(frozen=True)
class Reached:
    """What the options of a command say of the target that it asks.

    Attributes:
        name: The target's name.
        experiment: The experiment whose `targets` says how to reach it; None for as the workspace remembers.
        env: The experiment's environment.
        workspace: The workspace.
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


def reaching(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the options that say which target it asks. Its first parameter is the `Reached`."""

    @wraps(command)
    def with_options(target: str, experiment: str | None, env: str | None, workspace: Path, **own: Any) -> None:
        command(Reached(target, experiment, env, workspace), **own)

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
    """Has the options of `reaching` as its parameters."""


def to_follow(run: str, target: str, workspace: Path) -> str:
    """Returns the command that follows a run."""
    return pasteable("runs", "attach", run, "--target", target, "--workspace", workspace)


def started(target: "Target", state: "RunState", workspace: Path, no_wait: bool, as_json: bool) -> None:
    """Follows a run that has just been started, as `accompany` does, or says how to."""
    if no_wait:
        tell(f"to follow it: {to_follow(state.id, target.name, workspace)}")
        print(json.dumps(values(state)) if as_json else state.id)
    else:
        accompany(target, state, workspace, as_json)


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
        again = to_follow(state.id, target.name, workspace)
        tell(f"the run goes on; to follow it again: {again}")
        if as_json and isinstance(error, LostError):
            print(json.dumps(values(error.state)))
        raise
    if as_json:
        print(json.dumps(values(ended)))
    if ended.status not in ("succeeded", "skipped"):
        if target.name != "local":
            again = pasteable("runs", "retry", ended.id, "--target", target.name, "--workspace", workspace)
            tell(f"to repeat it from the step that failed: {again}")
        raise WorkError(f"{ended.id}: {said(ended)}")
    tell(f"{ended.id}: {said(ended)}")
