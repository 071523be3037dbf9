"""Arrays in NumPy's .npz format, read as a stream and never unpickled."""

import hashlib
import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import PurePath
from typing import IO

import numpy as np
from numpy.lib import format as npy

from preprocessing import files
from preprocessing.config import NpzSource
from preprocessing.sources.raw import Batch, Column, Unit, batches, same_count
from settings import RequestError, WorkError

# What zipfile raises over bytes that are not as they should be: a wrong flag looks like encryption, a wrong method like
# one to come, a wrong offset like a seek to before the start.
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    RuntimeError,  # with NotImplementedError, a kind of it
    OSError,
)


@dataclass(frozen=True)
class Npz:
    """An .npz file: for each part, the array of each feature."""

    path: str
    main: dict[str, str]
    held_out: dict[str, str]

    @classmethod
    def find(cls, source: NpzSource, features: tuple[str, ...]) -> "Npz":
        """Finds the file that a config names."""
        files.require(source.path, "data.source")
        main = {feature: source.arrays.get(feature, feature) for feature in features}
        held_out = {feature: source.held_out.get(feature, feature) for feature in features} if source.held_out else {}
        return cls(source.path, main, held_out)

    def require_held_out(self) -> None:
        if not self.held_out:
            raise RequestError("data.splits: this npz source names no `held_out` arrays")

    def fingerprint(self) -> str:
        roles = f"{sorted(self.main.items())} {sorted(self.held_out.items())} {files.sha256(self.path)}"
        return hashlib.sha256(roles.encode()).hexdigest()

    def describe(self) -> str:
        arrays = [*self.main.values(), *self.held_out.values()]
        return f"{PurePath(self.path).name}: {', '.join(arrays)}"

    def paths(self) -> list[str]:
        return [self.path]

    def units(self) -> list[Unit]:
        """Returns one unit per part: a compressed stream can be read only from its start."""
        return [self._unit(held_out) for held_out in (False, True) if self._part(held_out)]

    def read(self, unit: Unit) -> Iterator[Batch]:
        with self._open() as archive, ExitStack() as stack:
            columns = {}
            for feature, array in self._part(unit.held_out).items():
                stream = stack.enter_context(self._member(archive, array))
                dtype, shape = self._header(stream, array)
                columns[feature] = Column(f"{self.path}[{array}]", stream, dtype, shape[1:])
            yield from batches(columns, unit)
            for column in columns.values():
                if column.stream.read(1):  # reading to the very end also makes zipfile check the CRC
                    raise WorkError(f"{column.place} holds more bytes than its header promises")

    def _part(self, held_out: bool) -> dict[str, str]:
        return self.held_out if held_out else self.main

    def _unit(self, held_out: bool) -> Unit:
        counts = {}
        with self._open() as archive:
            for array in self._part(held_out).values():
                with self._member(archive, array) as stream:
                    counts[f"{self.path}[{array}]"] = self._header(stream, array)[1][0]
        return Unit(held_out, 0, same_count(counts))

    @contextmanager
    def _open(self) -> Iterator[zipfile.ZipFile]:
        with files.open_to_read(self.path) as file:
            try:
                with zipfile.ZipFile(file) as archive:
                    yield archive
            except WorkError:
                raise
            except _DAMAGE as error:
                raise WorkError(f"{self.path} is not a whole .npz file: {error or 'it ends too early'}") from None

    def _member(self, archive: zipfile.ZipFile, array: str) -> IO[bytes]:
        try:
            return archive.open(f"{array}.npy")
        except KeyError:
            found = sorted(name.removesuffix(".npy") for name in archive.namelist())
            raise WorkError(f"{self.path} holds no array {array!r}; it holds {found}") from None

    def _header(self, stream: IO[bytes], array: str) -> tuple[np.dtype, tuple[int, ...]]:
        place = f"{self.path}[{array}]"
        try:
            version = npy.read_magic(stream)
            read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            shape, is_fortran, dtype = read(stream)
        except ValueError as error:
            raise WorkError(f"{place} is not a NumPy array: {error}") from None
        if dtype.hasobject:
            raise WorkError(f"{place} holds Python objects ({dtype}), which could run code when read; save numbers")
        if not shape:
            raise WorkError(f"{place} is a single value; an array with the examples along its first axis is expected")
        if is_fortran and prod(shape[1:]) > 1:
            raise WorkError(f"{place} is stored in Fortran order; save it with numpy.ascontiguousarray")
        return dtype, shape
