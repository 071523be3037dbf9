"""Writing a dataset folder: concurrent attempts, one commit at a time, the manifest last.

    DIR/.attempt-…/train-00000      shards under temporary names, while they are written
    DIR/train-00000-of-00003.tfrecord …  DIR/dataset.json      the finished dataset

The process of an attempt holds a lock on the attempt's folder. The kernel releases the lock however the process ends,
so the next attempt can tell the leftovers of dead attempts and removes them. Buckets have no locks: there an attempt
removes its own files, and a lifecycle rule of the bucket must remove the files of a killed attempt.
"""

import contextlib
import logging
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Collection, Iterator
from pathlib import Path, PurePath
from typing import IO, cast

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from elboflow.artifacts import lock, write_atomically
from elboflow.settings import RequestError, WorkError
from preprocessing import files, manifest, rejects
from preprocessing.manifest import Manifest
from preprocessing.reader import read_shard

LOG = logging.getLogger("elboflow.preprocessing")
_ATTEMPT = ".attempt-"
_DATASET_FILE = re.compile(rf"[a-z][a-z0-9_]*-\d{{5}}-of-\d{{5}}\.tfrecord|{re.escape(rejects.NAME)}")


@contextlib.contextmanager
def attempt(output: str) -> Iterator[str]:
    """Makes a folder inside `output` for the files of one attempt, and removes it at exit.

    Raises:
        RequestError: `output` cannot be written to.
    """
    if files.is_uri(output):
        folder = files.join(output, _ATTEMPT + uuid.uuid4().hex)
        with files.reached(files.join(output, manifest.NAME)):
            pass
        try:
            yield folder
        finally:
            _remove_from_bucket(folder)
        return
    try:
        with locked(output):
            for leftover in Path(output).glob(_ATTEMPT + "*"):
                if not lock.is_held(leftover):
                    shutil.rmtree(leftover, ignore_errors=True)
            folder = tempfile.mkdtemp(prefix=_ATTEMPT, dir=output)
            alive = lock.hold(Path(folder))
    except OSError as error:
        raise RequestError(f"cannot write the dataset to {output}: {error.strerror}") from None
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if alive is not None:
            os.close(alive)


def finished(output: str, digests: Collection[str]) -> tuple[Manifest | None, str]:
    """Returns the manifest of a folder if it is complete and has one of the digests; otherwise None and the reason."""
    if not files.exists(files.join(output, manifest.NAME)):
        return None, "there is none"
    try:
        found = manifest.load(output)
        for shard in found.all_shards:
            read_shard(output, shard)
    except WorkError as error:
        return None, str(error)
    return (found, "") if found.digest in digests else (None, "it was made from other data or with other settings")


def withdraw(output: str, digests: Collection[str]) -> Manifest | None:
    """Returns the manifest of a finished dataset with one of these digests; otherwise deletes any manifest there."""
    with locked(output), files.reached(output):
        found, wrong = finished(output, digests)
        path = files.join(output, manifest.NAME)
        if found is None and files.exists(path):
            LOG.info("rewriting the dataset in %s: %s", output, wrong)
            FileSystems.delete([path])
    return found


def commit(output: str, made: Manifest, temporary: dict[str, str]) -> None:
    """Commits an attempt: renames its shards, writes the manifest, and removes shards of a former dataset.

    Args:
        output: The dataset folder.
        made: The manifest to write.
        temporary: The temporary path of each shard and of the list of rejected examples, by final name.
    """
    with locked(output), files.reached(output):
        names = list(temporary)
        path = files.join(output, manifest.NAME)
        if files.exists(path) and _content(path) != made.to_json():  # a concurrent run has committed other data
            FileSystems.delete([path])
        _move([temporary[name] for name in names], [files.join(output, name) for name in names])
        if files.is_uri(output):
            with _open_to_write(path) as file:
                file.write(made.to_json().encode())
        else:
            write_atomically(Path(path), made.to_json())
        stale = [
            found.path
            for kind in ("*.tfrecord", rejects.NAME)
            for found in FileSystems.match([files.join(output, kind)])[0].metadata_list
            if _DATASET_FILE.fullmatch(PurePath(found.path).name) and PurePath(found.path).name not in names
        ]
        if stale:
            FileSystems.delete(stale)


@contextlib.contextmanager
def locked(folder: str) -> Iterator[None]:
    """Holds the lock of a folder, which it waits for. A folder in a bucket has no lock."""
    if files.is_uri(folder):
        yield
        return
    Path(folder).mkdir(parents=True, exist_ok=True)
    with lock.locked(Path(folder)):
        yield


def _move(before: list[str], after: list[str]) -> None:
    """Renames files, or copies them from another file system. The attempt removes the originals of copies."""
    is_near = all(PurePath(old).is_relative_to(PurePath(new).parent) for old, new in zip(before, after, strict=True))
    scheme = FileSystems.get_scheme(after[0])
    if is_near or (scheme is not None and scheme == FileSystems.get_scheme(before[0])):
        FileSystems.rename(before, after)
        return
    for old, new in zip(before, after, strict=True):
        with files.open_to_read(old) as source, _open_to_write(new) as target:
            shutil.copyfileobj(source, target, length=8 << 20)


def _open_to_write(path: str) -> IO[bytes]:
    return cast(IO[bytes], FileSystems.create(path, compression_type=CompressionTypes.UNCOMPRESSED))


def _remove_from_bucket(folder: str) -> None:
    try:
        with files.reached(folder):
            found = FileSystems.match([files.join(folder, "*")])[0].metadata_list
            FileSystems.delete([file.path for file in found])
    except WorkError as error:
        LOG.warning("could not remove %s: %s", folder, error)


def _content(path: str) -> str:
    with files.open_to_read(path) as file:
        return file.read().decode(errors="replace")
