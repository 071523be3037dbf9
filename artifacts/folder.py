"""Writing, reading and checking a self-describing folder."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from settings import WorkError

_UNFINISHED = ".unfinished"  # ends the name of a file that `write_atomically` has not renamed yet


def commit(folder: Path, name: str, manifest: dict[str, Any], files: Iterable[str]) -> None:
    """Makes a folder an artifact: writes `NAME.json` with the size and SHA-256 of each file, last and atomically.

    Args:
        folder: The folder, which already holds the files.
        name: What the folder is: `model`, `evaluation`.
        manifest: What the folder says of itself, as JSON values.
        files: The files that belong to it, relative to the folder.
    """
    listed = {
        file: {"bytes": (folder / file).stat().st_size, "sha256": sha256(folder / file)} for file in sorted(files)
    }
    write_atomically(folder / f"{name}.json", json.dumps({**manifest, "files": listed}, indent=2) + "\n")


def load(folder: Path, name: str) -> dict[str, Any]:
    """Reads the manifest of an artifact.

    Raises:
        WorkError: The folder holds no such manifest (never written, or not finished), or an unreadable one.
    """
    path = Path(folder) / f"{name}.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise WorkError(f"{folder} is not a finished {name} folder: it holds no {path.name}") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise WorkError(f"{path} is damaged: {error}") from None


def damage(folder: Path, manifest: dict[str, Any]) -> str | None:
    """Compares a folder with its manifest and returns what is wrong with the first damaged file, or None."""
    for file, expected in manifest["files"].items():
        path = Path(folder) / file
        if not path.is_file():
            return f"{path} is missing"
        if path.stat().st_size != expected["bytes"]:
            return f"{path} holds {path.stat().st_size:,} bytes; its manifest says {expected['bytes']:,}"
        if sha256(path) != expected["sha256"]:
            return f"{path} is corrupted: its SHA-256 differs from its manifest's"
    return None


def copy(folder: Path, name: str, to: Path) -> None:
    """Copies an artifact into a new folder: its manifest and the files that it lists, whatever else lies there."""
    for file in [*load(folder, name)["files"], f"{name}.json"]:
        (to / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / file, to / file)


def withdraw(folder: Path, name: str) -> None:
    """Takes back a manifest before the folder is written anew, so that a half-rewritten folder is not an artifact.

    What a killed `write_atomically` left in the folder, or one level below, goes too.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").unlink(missing_ok=True)
    for leftovers in (f".*{_UNFINISHED}", f"*/.*{_UNFINISHED}"):
        for leftover in folder.glob(leftovers):
            leftover.unlink(missing_ok=True)


def write_atomically(path: Path, content: str | bytes) -> None:
    """Writes a file beside its place and renames it there: a reader sees the old content, or the new one, whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=_UNFINISHED)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink()
        raise


def sha256(path: Path) -> str:
    """Returns the SHA-256 of a file in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
