"""Temporary folders. A killed process leaves its own; the next process that makes one removes those of dead ones."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from elboflow.artifacts import lock

PREFIX = "elboflow-temporary-"
_ALIVE = ".alive"


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Makes a folder in the system's place for temporary files, and removes it in the end."""
    remove_dead()
    made = Path(tempfile.mkdtemp(prefix=PREFIX))
    folder = made / "files"
    folder.mkdir()
    held = None
    try:
        # Locked before it has its name: a file of that name without a holder is of a dead process. Without locks there
        # is no such file, and after a kill, the folder is for the system to remove.
        if (held := lock.hold(made / "new")) is not None:
            (made / "new").rename(made / _ALIVE)
        yield folder
    finally:
        shutil.rmtree(made, ignore_errors=True)
        if held is not None:
            os.close(held)


def remove_dead() -> None:
    """Removes the folders of this user's processes that ended before they could do so."""
    for made in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):
            if made.lstat().st_uid == os.getuid() and not made.is_symlink() and _is_dead(made / _ALIVE):
                shutil.rmtree(made, ignore_errors=True)


def _is_dead(file: Path) -> bool:
    return file.is_file() and not lock.is_held(file)
