"""Writing, reading and checking a self-describing folder."""

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from elboflow.artifacts import manifest as manifests
from elboflow.artifacts import names
from elboflow.artifacts.manifest import Described, Files, Format, Listed
from elboflow.artifacts.reading import DamagedError
from elboflow.settings import WorkError
from elboflow.settings.text import counted

_UNFINISHED = ".unfinished"  # ends the name of a file that is not renamed yet
_FILES = TypeAdapter(Files)
_BLOCK = 1 << 20

T = TypeVar("T", bound=Described)


def commit(folder: Path, name: str, manifest: Mapping[str, Any], files: Iterable[str]) -> None:
    """Makes a folder an artifact: writes `NAME.json` with the size and SHA-256 of each file, last and atomically.

    Args:
        folder: The folder, which already holds the files.
        name: What the folder is: `model`, `evaluation`.
        manifest: What the folder says of itself, as JSON values, with the number of its format.
        files: The files that belong to it, relative to the folder.
    """
    files = sorted(files)
    names.check(files, f"{name}.json")
    listed = {file: _described(folder, file).model_dump() for file in files}
    write_atomically(folder / f"{name}.json", manifests.sealed({**manifest, "files": listed}))


def load(folder: Path, name: str) -> dict[str, Any]:
    """Reads the manifest of an artifact of any format, as JSON values; the files that it lists have allowed names.

    Raises:
        WorkError: The folder holds no such manifest (never written, or not finished), or a damaged one.
    """
    path = Path(folder) / f"{name}.json"
    return _facts(_content(Path(folder), path.name, name), path)


def open_whole(folder: Path, format: Format[T]) -> T:
    """Reads the manifest of an artifact, and checks every file that it lists.

    Raises:
        WorkError: The folder is not finished, or this version cannot read it, or a file of it is missing or damaged.
    """
    facts = read(folder, format)
    if found := damage(folder, facts.files):
        raise WorkError(f"the {format.kind} folder cannot be used: {found}")
    return facts


def read(folder: Path, format: Format[T]) -> T:
    """Reads the manifest of an artifact, whose files are not read yet.

    Raises:
        WorkError: The folder holds no such manifest (never written, or not finished), a damaged one, or one that this
            version cannot read.
    """
    path = Path(folder) / f"{format.kind}.json"
    facts = format.read(_content(Path(folder), path.name, format.kind, format.largest), path)
    _check_names(facts.files, path)
    if missing := format.holds - facts.files.keys():
        raise DamagedError(path, f"it does not list {', '.join(sorted(missing))}")
    return facts


def damage(folder: Path, files: Files) -> str | None:
    """Compares a folder with what its manifest lists; returns what is wrong with the first damaged file, or None."""
    for file, expected in files.items():
        try:
            with names.open_listed(Path(folder), file) as opened:
                _verified(opened, expected, Path(folder) / file)
        except (WorkError, OSError) as error:
            return _said(error, Path(folder) / file)
    return None


def copy(folder: Path, name: str, to: Path) -> None:
    """Copies an artifact into a folder: its manifest, last, and only the files that it lists.

    Raises:
        WorkError: The folder is not such an artifact, or is damaged.
    """
    manifest = _content(Path(folder), f"{name}.json", name)
    for file, expected in _facts(manifest, Path(folder) / f"{name}.json")["files"].items():
        try:
            with names.open_listed(Path(folder), file) as source, _replaced(_place(to, file)) as target:
                _verified(source, Listed.model_validate(expected), Path(folder) / file, target)
        except OSError as error:
            raise WorkError(f"{folder} cannot be copied to {to}: {_said(error, Path(file))}") from None
    write_atomically(to / f"{name}.json", manifest)


def withdraw(folder: Path, name: str) -> None:
    """Takes back a manifest before the folder is written anew, so that a half-rewritten folder is not an artifact.

    What a killed `write_atomically` left in the folder, or one level below, goes too.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").unlink(missing_ok=True)
    for leftovers in (f".*{_UNFINISHED}", f"*/.*{_UNFINISHED}"):
        for leftover in folder.glob(leftovers):
            if not leftover.parent.is_symlink() or leftover.parent == folder:
                leftover.unlink(missing_ok=True)


def write_atomically(path: Path, content: str | bytes) -> None:
    """Writes a file beside its place and renames it there: a reader sees the old content, or the new one, whole."""
    with _replaced(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def sha256(path: Path) -> str:
    """Returns the SHA-256 of a file in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def _replaced(path: Path) -> Iterator[IO[bytes]]:
    """Opens a file for writing that takes the place of `path` when all is on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=_UNFINISHED)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink()
        raise


def _place(folder: Path, name: str) -> Path:
    """Returns where a listed file is written, which is in this folder and not behind a link."""
    path = folder
    for parent in name.split("/")[:-1]:
        path /= parent
        if path.is_symlink():
            raise WorkError(f"{path} is a link; nothing is written through it")
    return folder / name


def _content(folder: Path, file: str, name: str, largest: int = manifests.LARGEST) -> bytes:
    """Returns the text of a manifest."""
    try:
        with names.open_listed(folder, file) as opened:
            text = opened.read(largest + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise WorkError(f"{folder} is not a finished {name} folder: it holds no {file}") from None
    except OSError as error:
        raise WorkError(f"{folder / file} cannot be read: {error.strerror}") from None
    if len(text) > largest:
        raise DamagedError(folder / file, f"it is larger than {largest:,} bytes")
    return text


def _facts(content: bytes, path: Path) -> dict[str, Any]:
    facts = manifests.unsealed(content, path)
    try:
        _FILES.validate_python(facts.get("files"))
    except (ValidationError, RecursionError):
        raise DamagedError(path, "it does not list files with their sizes and SHA-256") from None
    _check_names(facts["files"], path)
    return facts


def _check_names(files: Iterable[object], path: Path) -> None:
    try:
        names.check(files, path.name)
    except WorkError as error:
        raise WorkError(f"{path} cannot be used: {error}") from None


def _described(folder: Path, file: str) -> Listed:
    with names.open_listed(folder, file) as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
        return Listed(bytes=os.fstat(opened.fileno()).st_size, sha256=digest)


def _verified(source: IO[bytes], expected: Listed, path: Path, target: IO[bytes] | None = None) -> None:
    """Reads a file to its end, and copies it to another, if any; raises WorkError if it is not what was listed."""
    size = os.fstat(source.fileno()).st_size
    if size != expected.bytes:
        raise WorkError(f"{path} holds {counted(size, 'byte')}; its manifest says {expected.bytes:,}")
    digest = hashlib.sha256()
    while block := source.read(_BLOCK):
        digest.update(block)
        if target is not None:
            target.write(block)
    if digest.hexdigest() != expected.sha256:
        raise WorkError(f"{path} is corrupted: its SHA-256 differs from its manifest's")


def _said(error: Exception, path: Path) -> str:
    if isinstance(error, FileNotFoundError):
        return f"{path} is missing"
    return f"{path} cannot be read: {error.strerror}" if isinstance(error, OSError) else str(error)
