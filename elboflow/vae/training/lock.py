"""A lock for one training at a time in a folder, if the file system supports locks."""

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from elboflow.settings import WorkError

LOCK = ".lock"
_WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EBADF)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Holds the lock of a folder. The kernel releases it at the latest when the process ends.

    Raises:
        WorkError: Another training holds the lock. A retry can succeed after that training has ended.
    """
    path = folder / LOCK
    handle = _locked(path)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            if _is_same_file(path, handle):
                path.unlink()
        os.close(handle)


def _locked(path: Path) -> int:
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise WorkError(
                f"another training is at work in {path.parent}, and two would overwrite each other's checkpoints; "
                "wait for it, or give this one another output folder"
            ) from None
        except OSError as error:
            if error.errno not in _WITHOUT_LOCKS:
                os.close(handle)
                raise
        if _is_same_file(path, handle):
            return handle
        os.close(handle)  # the former holder has just removed this file, so it is no longer the folder's lock


def _is_same_file(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False
