"""Locks on files and folders. The kernel releases a lock when its process ends, however it ends."""

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PATIENCE = 1.0  # seconds: `is_held` takes the lock for a moment, too
_WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EBADF)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Waits for the lock of a folder, or of a file, which is made if need be, and holds it.

    Raises:
        OSError: The file cannot be opened to write, or its file system has no locks.
    """
    descriptor = _open(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Holds the lock of a file that is there only as long as the lock is held; without a lock if there are none.

    Raises:
        BlockingIOError: Another process holds the lock.
        OSError: The file cannot be opened to write.
    """
    while True:
        descriptor = _open(path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in _WITHOUT_LOCKS:
                os.close(descriptor)
                raise
        if _is_same_file(path, descriptor):
            break
        os.close(descriptor)  # the holder before has removed this file: its lock excludes no process
    try:
        yield
    finally:
        with suppress(OSError):
            if _is_same_file(path, descriptor):
                path.unlink()
        os.close(descriptor)


def hold(path: Path, patience: float = _PATIENCE) -> int | None:
    """Locks a folder, or a file, which is made if need be, until the descriptor is closed: at the latest by the kernel.

    A child process that inherits the descriptor holds the lock, too.

    Args:
        path: The file or folder.
        patience: Seconds to wait for another process that holds it.

    Returns:
        The descriptor; None where another process holds the lock, or the file cannot be locked.
    """
    try:
        descriptor = _open(path)
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
        except OSError:
            with suppress(OSError):  # the file system has no locks: an unlockable file would look like a free one
                path.unlink(missing_ok=True)
            os.close(descriptor)
            return None


def is_held(path: Path) -> bool:
    """Returns whether a process holds a lock, or that cannot be told. Without a file there is no holder."""
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


def _open(path: Path) -> int:
    if path.is_dir():
        return os.open(path, os.O_RDONLY)
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o644)


def _is_same_file(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
