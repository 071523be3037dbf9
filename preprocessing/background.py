"""Reading and writing beside the work, in threads: inflating and writing leave Python to others."""

import contextlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import IO, Self, cast

from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems

from elboflow.settings import WorkError
from preprocessing import files
from preprocessing.raw import Batch


def ahead(batches: Iterator[Batch]) -> Iterator[Batch]:
    """Yields the batches while the next one is being read."""
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = reader.submit(next, batches, None)
            yield batch


class Writer:
    """Writes files beside the work, one at a time.

    What goes wrong is raised at the next write or in the end; then every file is there.
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
        """Begins to write a new file; its content must not change before the writing has ended."""
        self._wait()
        self._pending = self._pool.submit(write, path, content)

    def _wait(self) -> None:
        if self._pending is not None:
            self._pending.result()


def write(path: str, content: memoryview | bytes) -> None:
    """Writes a new file.

    Raises:
        WorkError: It cannot be written, for instance because the disk is full.
    """
    with write_stream(path) as file:
        file.write(content)


@contextlib.contextmanager
def write_stream(path: str) -> Iterator[IO[bytes]]:
    """Opens a new file for writing.

    Raises:
        WorkError: It cannot be written, for instance because the disk is full.
    """
    try:
        with files.reached(path), FileSystems.create(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
            yield cast(IO[bytes], file)
    except (OSError, BeamIOError) as error:
        raise WorkError(f"could not write {path}: {error}") from None
