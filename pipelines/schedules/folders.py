"""The folder of a schedule, in which its runs work.

A folder that contains the workspace, as a project does, is kept relative to it: a project that is moved goes on, and
the runs of a copy read and write in the copy. A folder elsewhere is kept by its absolute path.
"""

import os
from pathlib import Path

from pipelines.schedules.states import Schedule


def kept(folder: str, workspace: Path) -> str:
    """Returns what is kept of a folder, such as `..` where the workspace is in it.

    Args:
        folder: Its absolute path.
        workspace: The workspace, without symbolic links.
    """
    try:
        real = Path(folder).resolve()
    except (OSError, RuntimeError, ValueError):  # it cannot be looked at: a row may hold anything
        return folder
    # The root contains everything: that a workspace is in it makes it no project that could be moved.
    if not Path(folder).is_absolute() or real == Path(real.anchor) or not workspace.is_relative_to(real):
        return folder
    return os.path.relpath(real, workspace)


def located(folder: str, workspace: Path) -> str:
    """Returns the absolute path of a folder that `kept` was called with, or of what has its place now."""
    return os.path.normpath(workspace / folder)


def absent(schedule: Schedule) -> str | None:
    """Returns why no run can work in a schedule's folder; None where it is there."""
    if Path(schedule.folder).is_dir():
        return None
    return f"the folder {schedule.folder}, in which the schedule was made, is no longer there"
