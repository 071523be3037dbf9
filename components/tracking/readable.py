"""An MLflow that is only read: where its database cannot be written to, MLflow works on a copy of it.

MLflow writes when it opens a SQLite file, if only to see which tables there are.
"""

import atexit
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from components.tracking import databases, relocation, store
from elboflow.artifacts.temporary import temporary_folder

if TYPE_CHECKING:
    from mlflow import MlflowClient

_copies = ExitStack()
atexit.register(_copies.close)
_BESIDE = ("-journal", "-wal")  # what SQLite keeps beside a file that is being written, or was when a process died


def connect(tracking_uri: str) -> "MlflowClient":
    """Returns a client of an MLflow that is only read; otherwise as `tracking.connect`."""
    file = databases.file_of(tracking_uri)
    if file is None or is_writable(file):
        return store.connect(tracking_uri)
    return store.use(databases.uri_of(_copies.enter_context(database(file))))


@contextmanager
def database(file: Path) -> Iterator[Path]:
    """Yields an MLflow's SQLite file, or a copy of one that cannot be written to, whose locations are mended.

    Raises:
        WorkError: The database cannot be used.
    """
    if is_writable(file):
        store.mended(databases.uri_of(file))
        yield file
        return
    with temporary_folder() as temporary:
        copy = temporary / file.name
        with store.explained(databases.uri_of(file)):
            _copy(file, copy)
            relocation.mend(copy, home=file.parent)
        yield copy


def is_writable(file: Path) -> bool:
    """Returns whether this process may write a file, and others beside it."""
    return os.access(file, os.W_OK) and os.access(file.parent, os.W_OK)


def _copy(file: Path, copy: Path) -> None:
    try:
        with (
            closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as source,
            closing(sqlite3.connect(copy)) as target,
        ):
            source.backup(target)  # waits for another process that writes
    except sqlite3.OperationalError:  # it was left in the middle of a transaction, which the copy can roll back
        for suffix in ("", *_BESIDE):
            if (part := file.with_name(file.name + suffix)).is_file():
                shutil.copyfile(part, copy.with_name(copy.name + suffix))
