"""What a process of ours makes sure of before all else: UTF-8, streams that never fail, a home."""

import locale
import os
import pwd
import stat
import sys
import tempfile
from io import TextIOWrapper
from pathlib import Path
from typing import TextIO

from elboflow.settings.variables import TERMINAL_ENCODING


def use_utf8() -> None:
    """Starts this process anew in Python's UTF-8 mode, where the locale has another encoding; its children inherit it.

    In any other mode, a name that is not ASCII in an experiment cannot be opened (or, from the command line, is no
    text that a database takes). A terminal goes on being written to in the locale's encoding.
    """
    if sys.getfilesystemencoding() != "utf-8":
        os.environ["PYTHONUTF8"] = "1"
        os.environ[TERMINAL_ENCODING] = locale.getencoding()
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])
    encoding = os.environ.pop(TERMINAL_ENCODING, None)
    for stream in (sys.stdout, sys.stderr):
        if encoding is not None and isinstance(stream, TextIOWrapper) and stream.isatty():
            stream.reconfigure(encoding=encoding)


def check_names() -> None:
    """Refuses names on the command line, and a current folder, that no database or JSON file of ours could hold.

    Raises:
        RequestError: A name is not UTF-8, or the current folder is gone.
    """
    from elboflow.settings import RequestError

    try:
        names = [*sys.argv[1:], str(Path.cwd())]
    except FileNotFoundError:
        raise RequestError("the current folder was removed; go to another, or make it again and go there") from None
    for name in names:
        if any("\ud800" <= character <= "\udfff" for character in name):
            raise RequestError(f"{name}: not UTF-8, as the names of files, folders and all else have to be here")


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
