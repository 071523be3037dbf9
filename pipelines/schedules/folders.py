"""The folder of a schedule: the working directory of its runs.

A folder that contains the workspace, as a project does, is stored relative to it: the schedules of a moved project go
on, and those of a copy work in the copy. Any other folder is stored by its absolute path.
"""

import os
from pathlib import Path

from pipelines.schedules.states import Schedule


def kept(folder: str, workspace: Path) -> str:
    """Returns a folder as it is stored, such as `..` where the workspace is in it.

    Args:
        folder: Its absolute path.
        workspace: The workspace, without symbolic links.
    """
    try:
        real = Path(folder).resolve()
    except (OSError, RuntimeError, ValueError):  # a damaged row may hold anything
        return folder
    # The root contains every workspace, but is no project that could be moved.
    if not Path(folder).is_absolute() or real == Path(real.anchor) or not workspace.is_relative_to(real):
        return folder
    return os.path.relpath(real, workspace)


def located(folder: str, workspace: Path) -> str:
    """Returns the absolute path of a stored folder."""
    return os.path.normpath(workspace / folder)


def absent(schedule: Schedule) -> str | None:
    """Returns why no run can work in a schedule's folder; None where it exists."""
    if Path(schedule.folder).is_dir():
        return None
    return f"the folder {schedule.folder}, in which the schedule was made, is no longer there"
