"""Reading, writing and hashing in background threads. Decompression, file writes and hashing release the GIL."""

import contextlib
import hashlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import IO, Self, cast

from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems

from elboflow.settings import WorkError
from preprocessing import files
from preprocessing.raw import Batch


def ahead(batches: Iterator[Batch]) -> Iterator[Batch]:
    """Prefetches one batch: yields a batch while a thread reads the next one."""
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = reader.submit(next, batches, None)
            yield batch


class Writer:
    """Writes files in a background thread, one at a time.

    An error is raised at the next write or at exit. After an exit without an error every file is written.
    """

    def __enter__(self) -> Self:
        self._pool = ThreadPoolExecutor(1)
        self._pending: Future[None] | None = None
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        with self._pool:
            if error is None:
                self._wait()

    def write(self, path: str, content: memoryview | bytes) -> None:
        """Starts to write a new file. The caller must not change `content` before the next `write` or exit."""
        self._wait()
        self._pending = self._pool.submit(write, path, content)

    def sha256(self, content: memoryview) -> Future[str]:
        """Starts to compute the SHA-256 of bytes, which the caller must not change before the result is there."""
        return self._pool.submit(lambda: hashlib.sha256(content).hexdigest())

    def _wait(self) -> None:
        if self._pending is not None:
            self._pending.result()


def write(path: str, content: memoryview | bytes) -> None:
    """Writes a new file.

    Raises:
        WorkError: The write failed, for instance because the disk is full.
    """
    with write_stream(path) as file:
        file.write(content)


@contextlib.contextmanager
def write_stream(path: str) -> Iterator[IO[bytes]]:
    """Opens a new file for writing.

    Raises:
        WorkError: The write failed, for instance because the disk is full.
    """
    try:
        with files.reached(path), FileSystems.create(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
            yield cast(IO[bytes], file)
    except (OSError, BeamIOError) as error:
        raise WorkError(f"could not write {path}: {error}") from None
