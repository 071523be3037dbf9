"""A run by what a person calls it: its id, the beginning of one, or `latest`."""

from typing import TYPE_CHECKING

from elboflow.settings import RequestError

if TYPE_CHECKING:
    from pipelines.targets import RunState, Target

LATEST = "latest"
SEARCHED = 200
"""The latest runs whose ids are compared with the beginning of one."""


def found_run(target: "Target", word: str) -> "RunState":
    """Returns the run that a word means.

    Args:
        target: Where it is.
        word: Its id, a beginning that no other of the latest runs has, or `latest`.

    Raises:
        RequestError: There is none, or there are several.
    """
    if word == LATEST:
        newest = target.runs(1)
        if not newest:
            raise RequestError(f"{LATEST}: there are no runs on {target.name} yet")
        return target.run(newest[0].id)
    try:
        return target.run(word)
    except RequestError:
        begun = [run.id for run in target.runs(SEARCHED) if run.id.startswith(word)] if word else []
        if not begun:
            raise
    if len(begun) > 1:
        raise RequestError(f"{word}: {len(begun)} runs begin so: {', '.join(begun[:3])}{', …' if begun[3:] else ''}")
    return target.run(begun[0])
