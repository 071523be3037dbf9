"""Opening files by path or URI: plain `open` on this machine, Beam's FileSystems for `gs://…` and its like.

Beam takes seconds to import, so it is imported only for a URI.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from elboflow import artifacts
from elboflow.settings import RequestError
from elboflow.settings.locations import scheme
from preprocessing import buckets

SCHEMES = ("gs",)
"""Of the URIs that can be read and written. What else Beam has file systems for needs packages that are not here."""

_BUFFER = 1 << 20  # bytes; below it, Google's client reads 16 MiB at a time


def is_uri(path: str) -> bool:
    """Whether a path is a URI, such as gs://bucket/file, rather than a place on this machine."""
    return scheme(path) is not None


def open_to_read(path: str) -> BufferedReader:
    """Opens a file for reading bytes, as they are (no decompression)."""
    if not is_uri(path):
        return open(_expanded(path), "rb")
    from apache_beam.io.filesystem import CompressionTypes
    from apache_beam.io.filesystems import FileSystems

    with reached(path):
        found = FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)
    return BufferedReader(buckets.Reading(path, found), _BUFFER)


@contextmanager
def reached(path: str) -> Iterator[None]:
    """Lets Beam's file systems work on a URI, whose bucket must answer, and whose errors become sentences.

    Raises:
        WorkError: The bucket cannot be reached, or refuses what is asked.
    """
    if not is_uri(path):
        yield
        return
    buckets.reach(path)
    with buckets.explained(path):
        yield


def open_within(folder: str, name: str) -> BufferedReader:
    """Opens a file of a dataset for reading, by a name that its manifest may list.

    Links in the folder are not followed.

    Raises:
        FileNotFoundError: There is no such file.
        WorkError: It is a link, or lies behind one.
    """
    if not is_uri(folder):
        return artifacts.open_listed(_expanded(folder), name)
    path = join(folder, name)
    if not exists(path):
        raise FileNotFoundError(path)
    return open_to_read(path)


def exists(path: str) -> bool:
    """Whether there is a file at this path or URI.

    Raises:
        RequestError: It is not for this account to know.
    """
    try:
        if not is_uri(path):
            return _expanded(path).is_file()
        from apache_beam.io.filesystems import FileSystems

        with reached(path):
            return bool(FileSystems.exists(path))
    except buckets.DeniedError as error:
        raise RequestError(str(error)) from None
    except OSError as error:
        raise RequestError(f"{path} cannot be looked for: {error.strerror or error}") from None


def join(folder: str, *names: str) -> str:
    """Returns the path or URI of something within a folder."""
    return "/".join([folder.rstrip("/"), *names])


def require(path: str, what: str) -> None:
    """Raises a RequestError if there is no file to read at this path or URI, saying what it was wanted for."""
    if not exists(path):
        raise RequestError(f"{what}: there is no file {path}")
    if not is_uri(path):
        try:
            open_to_read(path).close()
        except OSError as error:
            raise RequestError(f"{what}: {path} cannot be read: {error.strerror}") from None


def sha256(path: str) -> str:
    """Returns the SHA-256 of a file's bytes in hexadecimal."""
    with open_to_read(path) as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _expanded(path: str) -> Path:
    """Returns a path with `~` as the user's home; `~name` of a user that is not there is a name like any other."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)
