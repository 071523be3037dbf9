"""A workspace that was moved or copied: the absolute URIs in its MLflow are rewritten to its new folder.

MLflow stores the location of the files of each experiment, run, model and version as an absolute URI. A URI that ends
in `mlartifacts/…` below another folder than the database's is from where the workspace was before.
"""

import json
import logging
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

logger = logging.getLogger("elboflow.registry")

ARTIFACTS = "mlartifacts"

_LOCATIONS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
_LAYOUT = re.compile(
    rf"(?P<home>/.*)/{ARTIFACTS}/(?P<rest>[^/]+(?:/[0-9a-f]{{32}}/artifacts|/models/m-[0-9a-f]{{32}}/artifacts)?)",
    re.DOTALL,
)
_PATIENCE = 20.0  # seconds to wait for another process that writes: as MLflow


@dataclass(frozen=True)
class Mended:
    """What had to be mended.

    Attributes:
        before: The folders in which the workspace was.
        locations: Locations that were rewritten.
        copied: Folders of files that were there and not here.
    """

    before: tuple[str, ...]
    locations: int
    copied: int


@dataclass(frozen=True)
class _Stray:
    """A location below another folder than the database's."""

    table: str
    column: str
    row: int
    home: Path
    rest: str


def mend(database: Path, home: Path | None = None) -> Mended | None:
    """Rewrites the locations in an MLflow to its own folder; without effect where they are right.

    One transaction: a kill leaves all of them mended, or none. The caller keeps other processes from doing the same.

    Args:
        database: MLflow's SQLite file.
        home: The workspace, where the database is a copy beside it.
    """
    home = home or database.parent
    with closing(sqlite3.connect(database, timeout=_PATIENCE, isolation_level=None)) as connection:
        try:
            strays = list(_strays(connection, home))
        except sqlite3.Error:  # damaged, or of another version: MLflow says so
            return None
        if not strays:
            return None
        copied = sum(_copied(stray, home) for stray in strays)
        connection.execute("BEGIN IMMEDIATE")
        strays = [stray for stray in _strays(connection, home) if not _only_there(stray, home)]
        for stray in strays:
            location = (home / ARTIFACTS / stray.rest).as_uri()
            connection.execute(f"UPDATE {stray.table} SET {stray.column} = ? WHERE rowid = ?", (location, stray.row))
        before = sorted({stray.home for stray in strays})
        for place in before:
            _mend_mentions(connection, place, home)
        connection.execute("COMMIT")
    if not strays:
        return None
    mended = Mended(tuple(map(str, before)), len(strays), copied)
    logger.warning(
        "the workspace %s was in %s before: %d locations of its files in MLflow point here now%s",
        home,
        " and ".join(mended.before),
        mended.locations,
        f"; {copied} folders of files that were only there are copied" if copied else "",
    )
    return mended


def moved_from(database: Path) -> tuple[str, ...]:
    """Returns the folders, other than its own, in which an MLflow expects its files."""
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=_PATIENCE)) as connection:
        return tuple(sorted({str(stray.home) for stray in _strays(connection, database.parent)}))


def _strays(connection: sqlite3.Connection, home: Path) -> Iterator[_Stray]:
    here = (home / ARTIFACTS).as_uri() + "/"
    same: dict[Path, bool] = {}
    for table, column in _LOCATIONS:
        query = f"SELECT rowid, {column} FROM {table} WHERE substr({column}, 1, ?) != ?"
        for row, location in connection.execute(query, (len(here), here)).fetchall():
            found = _LAYOUT.fullmatch(_path(location))
            if found is None:
                continue
            place = Path(found["home"])
            if place not in same:
                same[place] = place == home or _is_same(place, home)
            if not same[place]:
                yield _Stray(table, column, row, place, found["rest"])


def _path(location: str) -> str:
    return unquote(urlsplit(location).path) if location.startswith("file:///") else location


def _is_same(place: Path, home: Path) -> bool:
    """Whether both are one folder, by a link or a mount."""
    try:
        return place.samefile(home)
    except OSError:
        return False


def _only_there(stray: _Stray, home: Path) -> bool:
    there, here = stray.home / ARTIFACTS / stray.rest, home / ARTIFACTS / stray.rest
    return "/" in stray.rest and there.is_dir() and not here.exists()


def _copied(stray: _Stray, home: Path) -> bool:
    """Copies the files of a run or a model that are only where the workspace was: a copy of the workspace registered
    there, before locations were mended."""
    if not _only_there(stray, home):
        return False
    here = home / ARTIFACTS / stray.rest
    with suppress(OSError):
        here.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=here.parent, prefix=".", suffix=".unfinished") as temporary:
            shutil.copytree(stray.home / ARTIFACTS / stray.rest, Path(temporary) / "files")
            (Path(temporary) / "files").rename(here)
            return True
    return False


def _mend_mentions(connection: sqlite3.Connection, before: Path, home: Path) -> None:
    """Rewrites paths that MLflow only shows: of datasets, and of runs' folders."""
    for row, source in connection.execute("SELECT rowid, dataset_source FROM datasets").fetchall():
        with suppress(ValueError, TypeError, KeyError):
            values = json.loads(source)
            if (path := Path(values["uri"])).is_relative_to(before):
                values["uri"] = str(home / path.relative_to(before))
                connection.execute("UPDATE datasets SET dataset_source = ? WHERE rowid = ?", (json.dumps(values), row))
    for row, path in connection.execute("SELECT rowid, value FROM tags WHERE key LIKE 'elboflow.%'").fetchall():
        if path.startswith(f"{before}/"):
            connection.execute(
                "UPDATE tags SET value = ? WHERE rowid = ?", (str(home / Path(path).relative_to(before)), row)
            )
