"""The workspace of a command: whatever opens it ends what was killed there."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipelines.workspace import Workspace


def found(folder: Path) -> "Workspace":
    """Returns a workspace to read from. Nothing is made; what cannot be written stays as it is."""
    from pipelines.targets.local import dead
    from pipelines.workspace import Workspace

    workspace = Workspace(folder.resolve())
    dead.end(workspace)
    return workspace


def made(folder: Path) -> "Workspace":
    """Returns a workspace to write into, made if need be.

    Raises:
        RequestError: It cannot be written to.
    """
    from pipelines.targets.local import dead
    from pipelines.workspace import open_to_write

    workspace = open_to_write(folder)
    dead.end(workspace)
    return workspace
