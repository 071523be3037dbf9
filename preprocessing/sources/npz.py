"""Arrays in NumPy's .npz format, read as a stream and never unpickled.

Only zip files as numpy.savez writes them are read: one member for each array, stored or deflated, with consistent
sizes.
"""

import hashlib
import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import BytesIO
from math import prod
from pathlib import PurePath
from typing import IO, TYPE_CHECKING, ClassVar, Literal

from numpy.lib import format as npy
from pydantic import Field

from elboflow.settings import RequestError, WorkError
from preprocessing import files
from preprocessing.features import ColumnError, Feature, Name
from preprocessing.raw import Batch, Part, Raw, Unit
from preprocessing.raw.arrays import Column, batches, same_count, type_of
from preprocessing.raw.headers import RATIO, Header
from preprocessing.sources import Location, Source, require_known

if TYPE_CHECKING:
    import pyarrow as pa

# Errors that zipfile raises for damaged files. A wrong flag looks like encryption (RuntimeError), an unknown method
# like one of a later version (NotImplementedError, a RuntimeError), a wrong offset like a seek before the start.
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    RuntimeError,
    OSError,
)
_MAGIC = b"\x93NUMPY"
_LONGEST_HEADER = 10_000  # bytes: NumPy's own limit for untrusted files
_ENCRYPTED = 0x1  # a flag of a zip member
_MOST_NAMES = 20  # in an error


class NpzSource(Source):
    """Arrays of a NumPy .npz file: one array per feature, with the examples along the first axis."""

    main: ClassVar = "path"
    kind: Literal["npz"] = "npz"
    path: Location = Field(description="the file")
    arrays: dict[Name, str] = Field(
        default={}, description="the array of a feature, by the feature's name; by default the one of the same name"
    )
    held_out: dict[Name, str] = Field(
        default={},
        description="the array of each feature in the held-out part, such as {image: x_test, label: y_test}; empty: "
        "there is no held-out part",
    )

    @property
    def locations(self) -> dict[str, str]:
        return {"path": self.path}

    @property
    def has_held_out(self) -> bool:
        return bool(self.held_out)

    def require(self, features: Mapping[str, Feature]) -> None:
        if not features:
            raise ValueError("features: an npz file does not say what its arrays mean; give at least one feature")
        require_known("arrays", {**self.arrays, **self.held_out}, features)

    def open(self, features: Mapping[str, Feature]) -> "Npz":
        return Npz.find(self, features)


@dataclass(frozen=True)
class Npz(Raw):
    """An .npz file: the name of each feature's array, for the main and the held-out part."""

    path: str
    main: dict[str, str]
    held_out: dict[str, str]
    features: Mapping[str, Feature]

    @classmethod
    def find(cls, source: NpzSource, features: Mapping[str, Feature]) -> "Npz":
        """Finds the file of a source.

        Raises:
            RequestError: The file does not exist, or cannot be read.
        """
        files.require(source.path, "data.source")
        main = {feature: source.arrays.get(feature, feature) for feature in features}
        held_out = {feature: source.held_out.get(feature, feature) for feature in features} if source.held_out else {}
        return cls(source.path, main, held_out, features)

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
        parts: tuple[Part, ...] = ("main", "held_out")
        return [self._unit(part) for part in parts if self._part(part)]

    def types(self) -> "dict[str, pa.DataType]":
        found = {}
        with self._open() as archive:
            for feature, array in self.main.items():
                with self._array(archive, array, feature) as (_, header):
                    try:
                        found[feature] = type_of(header.dtype)
                    except ColumnError as error:
                        raise WorkError(f"{header.place}: the feature {feature!r} {error}") from None
        return found

    def read(self, unit: Unit) -> Iterator[Batch]:
        with self._open() as archive, ExitStack() as stack:
            columns = {}
            for feature, array in self._part(unit.part).items():
                stream, header = stack.enter_context(self._array(archive, array, feature))
                columns[feature] = Column(header.place, stream, header.dtype, header.row)
            yield from batches(columns, 0, int(unit.token[0]))
            for column in columns.values():
                if column.stream.read(1):  # zipfile checks the CRC when a read reaches the end
                    raise WorkError(f"{column.place} holds more bytes than its header promises")

    def _part(self, part: Part) -> dict[str, str]:
        return self.held_out if part == "held_out" else self.main

    def _unit(self, part: Part) -> Unit:
        counts, size = {}, 0
        with self._open() as archive:
            for feature, array in self._part(part).items():
                with self._array(archive, array, feature) as (_, header):
                    counts[header.place] = header.shape[0]
                    size += header.bytes
        count = same_count(counts)
        return Unit(part, (count,), size, count)

    @contextmanager
    def _open(self) -> Iterator[zipfile.ZipFile]:
        with files.open_to_read(self.path) as file:
            if file.read(len(_MAGIC)) == _MAGIC:
                raise WorkError(
                    f"{self.path} is a .npy file, of one array; an .npz holds one for each feature: "
                    f"numpy.savez('NAME.npz', {next(iter(self.main))}=numpy.load('NAME.npy'))"
                )
            file.seek(0)
            try:
                with zipfile.ZipFile(file) as archive:
                    yield archive
            except WorkError:
                raise
            except _DAMAGE as error:
                raise WorkError(f"{self.path} is not a whole .npz file: {error or 'it ends too early'}") from None

    @contextmanager
    def _array(self, archive: zipfile.ZipFile, array: str, feature: str) -> Iterator[tuple[IO[bytes], Header]]:
        """Opens an array at its first value."""
        member, place = self._member(archive, array), f"{self.path}[{array}]"
        with archive.open(member) as stream:
            header, length = _header(stream, place)
            header.require(feature, self.features[feature])
            header.require_content(member.file_size - length)
            yield stream, header

    def _member(self, archive: zipfile.ZipFile, array: str) -> zipfile.ZipInfo:
        """Returns the zip member of an array.

        Raises:
            WorkError: There is not exactly one, or its flags or sizes are impossible.
        """
        found = [member for member in archive.infolist() if member.filename == f"{array}.npy"]
        if not found:
            names = sorted(f"{name.removesuffix('.npy'):.80}" for name in archive.namelist())
            more = f" and {len(names) - _MOST_NAMES:,} more" if len(names) > _MOST_NAMES else ""
            raise WorkError(f"{self.path} holds no array {array!r}; it holds {names[:_MOST_NAMES]}{more}")
        member, *others = found
        wrong = None
        if others:
            wrong = f"{len(found)} arrays have this name"
        elif member.flag_bits & _ENCRYPTED:
            wrong = "it is encrypted"
        elif member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            wrong = f"it is compressed by the method {member.compress_type}; NumPy stores or deflates"
        elif member.file_size > (RATIO if member.compress_type == zipfile.ZIP_DEFLATED else 1) * member.compress_size:
            wrong = f"{member.compress_size:,} bytes cannot hold the {member.file_size:,} that it is said to have"
        elif member.header_offset + member.compress_size > archive.start_dir:
            wrong = f"it is said to take {member.compress_size:,} bytes; the file ends before"
        if wrong:
            raise WorkError(f"{self.path} is not a whole .npz file: {array!r}: {wrong}")
        return member


def _header(stream: IO[bytes], place: str) -> tuple[Header, int]:
    """Reads the header of an array; returns the header and its size in bytes."""
    magic = stream.read(8)
    if magic[:6] != _MAGIC:
        raise WorkError(f"{place} is not a NumPy array: it begins with {magic.hex(' ') or 'nothing'}")
    field = stream.read(2 if magic[6] == 1 else 4)
    length = int.from_bytes(field, "little")
    if length > _LONGEST_HEADER:
        raise WorkError(f"{place} has a header of {length:,} bytes; at most {_LONGEST_HEADER:,} are read")
    read = npy.read_array_header_1_0 if magic[6] == 1 else npy.read_array_header_2_0
    try:
        shape, is_fortran, dtype = read(BytesIO(field + stream.read(length)))
    except Exception as error:  # NumPy parses a Python literal: SyntaxError, RecursionError, MemoryError, …
        reason = f"{type(error).__name__}: {error}"
        raise WorkError(f"{place} is not a NumPy array: its header cannot be read ({reason:.200})") from None
    if dtype.hasobject:
        raise WorkError(
            f"{place} holds Python objects ({dtype!s:.80}), which could run code when read; save numbers, or names of "
            "classes as text: array.astype(str)"
        )
    if is_fortran and prod(shape[1:]) > 1:
        raise WorkError(f"{place} is stored in Fortran order; save it with numpy.ascontiguousarray")
    return Header(place, dtype, shape), len(magic) + len(field) + length
