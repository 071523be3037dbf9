"""Temporary folders. A killed process leaves its own; the next process that makes one removes those of dead ones."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = "elboflow-temporary-"
_ALIVE = ".alive"


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Makes a folder in the system's place for temporary files, and removes it in the end."""
    remove_dead()
    made = Path(tempfile.mkdtemp(prefix=PREFIX))
    folder = made / "files"
    folder.mkdir()
    try:
        with open(made / _ALIVE, "w", encoding="utf-8") as alive:
            with suppress(OSError):  # a file system without locks: after a kill, the folder is for the system to remove
                fcntl.flock(alive, fcntl.LOCK_EX)
                alive.write("locked")  # only now may it be taken for dead
                alive.flush()
            yield folder
    finally:
        shutil.rmtree(made, ignore_errors=True)


def remove_dead() -> None:
    """Removes the folders of this user's processes that ended before they could do so."""
    for made in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):
            if made.lstat().st_uid == os.getuid() and not made.is_symlink() and _is_dead(made / _ALIVE):
                shutil.rmtree(made, ignore_errors=True)


def _is_dead(file: Path) -> bool:
    """Returns whether a process once held the lock of a file, and none does now."""
    with open(os.open(file, os.O_RDWR | os.O_NOFOLLOW), encoding="utf-8") as alive:
        try:
            fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return alive.read() != ""
