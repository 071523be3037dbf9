"""Locks on files. The system releases a lock when its process is gone, however it ended, in every container."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PATIENCE = 1.0  # seconds: `is_held` takes the lock for a moment, too


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Waits for the lock of a file, which is made if need be, and holds it.

    Raises:
        OSError: The file cannot be opened to write.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def hold(path: Path, patience: float = _PATIENCE) -> int | None:
    """Locks a file, which is made if need be, until its descriptor is closed: at the latest, when the process ends.

    A child process that inherits the descriptor holds the lock, too.

    Args:
        path: The file.
        patience: Seconds to wait for another process that holds it.

    Returns:
        The descriptor; None where another process holds the lock, or the file cannot be locked.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError:
        return None
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(descriptor)
                return None
            time.sleep(0.02)
        except OSError:  # the file system has no locks: an unlockable file would look like a free one
            path.unlink(missing_ok=True)
            os.close(descriptor)
            return None


def is_held(path: Path) -> bool:
    """Returns whether a process holds the lock of a file, or that cannot be told. Without a file there is no holder."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False
