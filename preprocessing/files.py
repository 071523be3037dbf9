"""Opening files by path or URI: `open` for local paths, Beam's FileSystems for `gs://…`.

Beam takes seconds to import, so it is imported only for a URI. `package://DISTRIBUTION/PATH` is a file that an
installed distribution lists; no code of the distribution is imported.
"""

import errno
import fnmatch
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from io import BufferedReader
from pathlib import Path

from elboflow import artifacts
from elboflow.settings import RequestError
from elboflow.settings.locations import scheme
from preprocessing import buckets

SCHEMES = ("gs",)
"""Schemes of URIs that can be read and written. Beam's other file systems need packages that are not installed."""
PACKAGE = "package"
"""The scheme of files of installed distributions, which can only be read."""

_BUFFER = 1 << 20  # bytes; below it, Google's client reads 16 MiB at a time


class AbsentError(RequestError):
    """There is no such file. It may come later: a schedule with `trigger.changed` waits for it."""


def is_uri(path: str) -> bool:
    """Whether a path is a URI, such as gs://bucket/file, rather than a local path."""
    return scheme(path) is not None


def open_to_read(path: str) -> BufferedReader:
    """Opens a file for reading its bytes, without decompression."""
    if scheme(path) == PACKAGE:
        return open(_package_path(path), "rb")
    if not is_uri(path):
        return open(_expanded(path), "rb")
    from apache_beam.io.filesystem import CompressionTypes
    from apache_beam.io.filesystems import FileSystems

    with reached(path):
        found = FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)
    return BufferedReader(buckets.Reading(path, found), _BUFFER)


@contextmanager
def reached(path: str) -> Iterator[None]:
    """Checks that the bucket of a URI answers, and explains errors of the body in one sentence. Local paths: no-op.

    Raises:
        WorkError: The bucket cannot be reached, or denies access.
    """
    if not is_uri(path):
        yield
        return
    buckets.reach(path)
    with buckets.explained(path):
        yield


def open_within(folder: str, name: str) -> BufferedReader:
    """Opens a file of a dataset folder for reading, by its name in the manifest.

    Links in a local folder are not followed.

    Raises:
        FileNotFoundError: There is no such file.
        WorkError: The file or one of its folders is a link.
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
        RequestError: This account has no permission to look, or the path cannot be looked up.
    """
    try:
        if scheme(path) == PACKAGE:
            return path in matching(path)
        if not is_uri(path):
            return _expanded(path).is_file()
        from apache_beam.io.filesystems import FileSystems

        with reached(path):
            return bool(FileSystems.exists(path))
    except buckets.DeniedError as error:
        raise RequestError(str(error)) from None
    except OSError as error:
        raise RequestError(f"{path} cannot be looked for: {error.strerror or error}") from None


def matching(pattern: str) -> list[str]:
    """Returns the files that match a path or URI with the wildcards `*`, `?` and `[…]`, sorted.

    Raises:
        RequestError: There is no such distribution, or the files cannot be listed.
    """
    if scheme(pattern) == PACKAGE:
        return _package_files(pattern)
    if not any(sign in pattern for sign in "*?["):
        return [pattern] if exists(pattern) else []
    if not is_uri(pattern):
        parts = _expanded(pattern).parts
        fixed = next(number for number, part in enumerate(parts) if any(sign in part for sign in "*?["))
        found = Path(*parts[:fixed]).glob("/".join(parts[fixed:]))
        return sorted(str(path) for path in found if path.is_file())
    from apache_beam.io.filesystems import FileSystems

    try:
        with reached(pattern):
            return sorted(file.path for file in FileSystems.match([pattern])[0].metadata_list)
    except buckets.DeniedError as error:
        raise RequestError(str(error)) from None


def join(folder: str, *names: str) -> str:
    """Returns the path or URI of a file or folder within a folder."""
    return "/".join([folder.rstrip("/"), *names])


def require(path: str, what: str) -> None:
    """Raises a RequestError if there is no readable file at this path or URI: an AbsentError if there is none at all.

    Args:
        path: The path or URI.
        what: What needs the file, the start of the message.
    """
    if not exists(path):
        raise AbsentError(f"{what}: there is no file {path}")
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


def _package_files(pattern: str) -> list[str]:
    name, _, inside = pattern.removeprefix(f"{PACKAGE}://").partition("/")
    wanted = inside.split("/")
    found = []
    for file in _distribution(name).files or []:
        parts = str(file).split("/")
        if len(parts) == len(wanted) and all(map(fnmatch.fnmatchcase, parts, wanted)) and ".." not in parts:
            found.append(f"{PACKAGE}://{name}/{file}")
    return sorted(found)


def _package_path(path: str) -> str:
    """Returns the local path of a file of an installed distribution."""
    if path not in _package_files(path):
        raise FileNotFoundError(errno.ENOENT, "the distribution lists no such file", path)
    name, _, inside = path.removeprefix(f"{PACKAGE}://").partition("/")
    return str(_distribution(name).locate_file(inside))


def _distribution(name: str) -> metadata.Distribution:
    try:
        return metadata.distribution(name)
    except metadata.PackageNotFoundError:
        raise RequestError(f"{PACKAGE}://{name}: there is no installed distribution of this name") from None


def _expanded(path: str) -> Path:
    """Returns a path with `~` replaced by the home folder. `~name` of an unknown user is kept as a plain name."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)
