"""A target that a command reaches, and a run there that it follows."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.commands import workspaces
from pipelines.commands.outcome import pasteable, tell
from pipelines.commands.run_words import said, values

if TYPE_CHECKING:
    from pipelines.targets import RunState, Target


def reach(target: str, experiment: str | None, env: str | None, workspace: Path) -> "Target":
    """Returns a target, as an experiment says how to reach it, or as the workspace remembers."""
    from pipelines.connect import connect

    wanted = None
    if experiment is not None:
        from pipelines.experiment import load

        wanted = load(experiment, env=env)
    return connect(target, wanted, workspaces.found(workspace))


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
        again = pasteable("runs", "attach", state.id, "--target", target.name, "--workspace", workspace)
        tell(f"the run goes on; to follow it again: {again}")
        if as_json and isinstance(error, LostError):
            print(json.dumps(values(error.state)))
        raise
    if as_json:
        print(json.dumps(values(ended)))
    if ended.status not in ("succeeded", "skipped"):
        raise WorkError(f"{ended.id}: {said(ended)}")
    tell(f"{ended.id}: {said(ended)}")
