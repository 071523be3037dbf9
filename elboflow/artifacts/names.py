"""Which names a manifest may list, and how a listed file is opened without leaving its folder.

A folder comes from a registry, a bucket or a colleague, and its manifest with it. A name in it is a path that this
process will read, copy or write.
"""

import os
import re
import stat
from collections.abc import Iterable
from io import BufferedReader
from pathlib import Path

from elboflow.settings import WorkError

LONGEST = 200
"""Characters of a name, with the folders in it."""
_PART = "[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_-])?"
_NAME = re.compile(f"{_PART}(?:/{_PART})*")
_RULE = f"a name has at most {LONGEST} letters, digits, '_', '-' and '.', and '/' after a folder"
_SHOWN = 60


def check(names: Iterable[object], manifest: str) -> None:
    """Checks the names that a manifest lists: plain relative paths, each of another file, none of the manifest itself.

    What this alphabet can spell means the same on every file system: no `..`, no root, no drive, no control character,
    no second spelling of one letter.

    Args:
        names: The names.
        manifest: The name of the manifest.

    Raises:
        WorkError: A name is not allowed.
    """
    taken = {manifest.casefold(): manifest}  # files and folders, as a file system that ignores case would find them
    folders: set[str] = set()
    for name in names:
        if not isinstance(name, str) or len(name) > LONGEST or not _NAME.fullmatch(name):
            raise WorkError(f"the file name {shown(name)} is not allowed: {_RULE}")
        key = name.casefold()
        parents = [key[: slash.start()] for slash in re.finditer("/", key)]
        for place in (key, *parents):
            if place in taken and not (place in folders and place != key):
                raise WorkError(f"the file name {shown(name)} is not allowed beside {shown(taken[place])}")
            taken.setdefault(place, name)
        folders.update(parents)


def open_listed(folder: Path, name: str) -> BufferedReader:
    """Opens a file of an artifact for reading, by a name that `check` allows.

    Links below the folder are not followed: what they lead to is not part of the artifact.

    Raises:
        OSError: There is no such file, or it cannot be read.
        WorkError: It is a link, or lies behind one, or is not a regular file.
    """
    *parents, last = name.split("/")
    here = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for parent in parents:
            below = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=here)
            os.close(here)
            here = below
        handle = os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=here)
    except OSError:
        if link := _link(Path(folder), name):
            raise WorkError(f"{link} is a link; the files of an artifact stand in its own folder") from None
        raise
    finally:
        os.close(here)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise WorkError(f"{Path(folder) / name} is not a regular file")
    return open(handle, "rb")


def shown(name: object) -> str:
    """Returns a name as a message shows it: quoted, shortened, and with everything escaped that a screen would obey."""
    text = ascii(name)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _link(folder: Path, name: str) -> Path | None:
    """Returns the first link on the way to a file."""
    path = folder
    for part in name.split("/"):
        path /= part
        if path.is_symlink():
            return path
    return None
