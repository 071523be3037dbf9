"""What every process of ours makes sure of before all else, whatever the machine: streams and a home."""

import os
import pwd
import stat
import sys
import tempfile
from pathlib import Path
from typing import TextIO


def prepare() -> None:
    """Makes standard output and error never fail, and sees to it that the process has a home and its user a name."""
    never_fail()
    give_home()


def never_fail(*streams: TextIO) -> None:
    """Lets streams escape what their encoding lacks, as `…` on an ASCII terminal, instead of raising an error.

    Args:
        streams: Standard output and error by default. A stream that was put in their place is left as it is.
    """
    for stream in streams or (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def give_home() -> None:
    """Gives a user that the system does not know, as in a container, a home and a name for libraries that ask for one.

    MLflow does not even import without a home. It is a private folder in the place for temporary files.
    """
    try:
        pwd.getpwuid(os.getuid())
        return
    except KeyError:
        pass
    os.environ.setdefault("LOGNAME", f"uid-{os.getuid()}")
    if not os.environ.get("HOME"):
        home = Path(tempfile.gettempdir()) / f"elboflow-home-{os.getuid()}"
        os.environ["HOME"] = str(home) if _is_private(home) else tempfile.mkdtemp(prefix="elboflow-home-")


def _is_private(folder: Path) -> bool:
    """Makes a folder if need be; returns whether it is one of this user, and no other can write to it."""
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022
