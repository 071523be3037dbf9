"""Folders: which there are, when something was last written into them, how large they are."""

import time
from pathlib import Path

A_DAY = 24 * 3600.0
"""Seconds after which what looks like the leftover of a killed write is one."""


def folders(of: Path) -> list[Path]:
    """Returns the folders in a folder, in the order of their names; links are none."""
    if not of.is_dir():
        return []
    return [folder for folder in sorted(of.iterdir()) if folder.is_dir() and not folder.is_symlink()]


def last_written(path: Path) -> float:
    """Returns when something in a folder was last written, in seconds since 1970."""
    moments = [time.time()] if not path.exists() else [path.stat().st_mtime]
    for below in path.rglob("*") if path.is_dir() else ():
        try:
            moments.append(below.lstat().st_mtime)
        except OSError:
            continue
    return max(moments)


def size(path: Path) -> int:
    """Returns the bytes of a file, or of all files in a folder."""
    total = 0
    for each in [path, *path.rglob("*")] if path.is_dir() else [path]:
        try:
            found = each.lstat()
        except OSError:
            continue
        total += found.st_size if not each.is_dir() else 0
    return total
