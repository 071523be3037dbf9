"""The workspace: whether it can be written to, and whether there is room."""

import shutil
import tempfile
from pathlib import Path

from pipelines.targets.checks import Finding

ROOM = 2e9  # bytes: a few runs of a small experiment, with their datasets, checkpoints and models


def workspace(folder: Path) -> Finding:
    """Looks at the folder that holds everything local runs make, or where it would be made."""
    what, place = f"workspace {folder}", folder.absolute()
    while not place.exists():
        place = place.parent
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(b"x")
    except OSError as error:
        mend = "choose another with --workspace, or its owner gives you the right to write"
        return Finding(what, "ill", f"cannot be written to: {error.strerror}", mend)
    free = shutil.disk_usage(place).free
    made = "" if folder.exists() else "will be made; "
    found = f"{made}{free / 1e9:,.1f} GB free"
    if free < ROOM:
        return Finding(what, "ill", found, f"make room for at least {ROOM / 1e9:g} GB, or choose another --workspace")
    return Finding(what, "well", found)
