"""Arrays in the idx format of the MNIST database (described at the end of http://yann.lecun.com/exdb/mnist).

A file is a header and the values. The header is four bytes, 0 0 TYPE DIMENSIONS, and the size of each dimension as a
big-endian uint32.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, BinaryIO, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from elboflow.settings import RequestError, WorkError
from preprocessing import files
from preprocessing.features import Feature
from preprocessing.raw import Batch, Part, Raw, Unit
from preprocessing.raw.arrays import Column, Stream, batches, same_count, type_of
from preprocessing.raw.gzipped import Gunzip
from preprocessing.raw.headers import Header
from preprocessing.sources import Location, Source, require_offered

if TYPE_CHECKING:
    import pyarrow as pa

TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
UNIT_BYTES = 64 << 20
_NAMES = {"image": ("images", "idx3-ubyte"), "label": ("labels", "idx1-ubyte")}


class IdxSource(Source):
    """Files in MNIST's idx format, plain or gzipped.

    Either `path`, a folder in MNIST's layout, or single files: `images`, `labels`, `test_images`, `test_labels`. The
    folder contains train-images-idx3-ubyte[.gz] and train-labels-idx1-ubyte[.gz]. Optional files t10k-images-… and
    t10k-labels-… are the held-out part. Names with a dot, such as train-images.idx3-ubyte, are found, too.
    """

    main: ClassVar = "path"
    kind: Literal["idx"] = "idx"
    path: Location | None = Field(None, description="a folder in MNIST's layout")
    images: Location | None = Field(None, description="the file of the images; instead of `path`")
    labels: Location | None = Field(None, description="the file of the labels of `images`; null: there are none")
    test_images: Location | None = Field(
        None, description="the file of the held-out images; null: there is no held-out part"
    )
    test_labels: Location | None = Field(None, description="the file of the labels of `test_images`")

    @model_validator(mode="after")
    def _folder_or_files(self) -> "IdxSource":
        if (self.path is None) == (self.images is None):
            raise ValueError("an idx source has either `path` (a folder in MNIST's layout) or `images` (a file)")
        if self.path is not None and (self.labels or self.test_images or self.test_labels):
            raise ValueError("an idx source with a `path` finds its files by name: no labels, test_images, test_labels")
        if self.test_labels is not None and self.test_images is None:
            raise ValueError("test_labels needs test_images")
        return self

    @property
    def locations(self) -> dict[str, str]:
        keys = ("path", "images", "labels", "test_images", "test_labels")
        return {key: location for key in keys if (location := getattr(self, key)) is not None}

    @property
    def told_names(self) -> list[str]:
        return super().told_names if self.path is None else []  # a folder is not told

    @property
    def has_held_out(self) -> bool:
        return self.path is not None or self.test_images is not None

    @property
    def default_features(self) -> dict[str, Feature]:
        image = Feature.parse({"kind": "image", "shape": [28, 28, 1], "range": [0, 255]})
        return (
            {"image": image}
            if self.images and not self.labels
            else {"image": image, "label": Feature.parse("category")}
        )

    def require(self, features: Mapping[str, Feature]) -> None:
        require_offered(self, features)

    def open(self, features: Mapping[str, Feature]) -> "Idx":
        return Idx.find(self, features)


@dataclass(frozen=True)
class Idx(Raw):
    """The idx files of a source: the path of each feature's file, for the main and the held-out part."""

    main: dict[str, str]
    held_out: dict[str, str]
    features: Mapping[str, Feature]

    @classmethod
    def find(cls, source: IdxSource, features: Mapping[str, Feature]) -> "Idx":
        """Finds the files of a source.

        Raises:
            RequestError: A file does not exist, or the folder has another layout.
        """
        if source.path is None:
            main = {"image": source.images, "label": source.labels}
            held_out = {"image": source.test_images, "label": source.test_labels} if source.test_images else {}
        else:
            needed = dict.fromkeys(["image", *features])  # a folder without images has another layout
            main = {feature: _in_folder(source.path, "train", feature) for feature in needed}
            held_out = {feature: _in_folder(source.path, "t10k", feature) for feature in needed}
            if held_out["image"] is None:
                held_out = {}
            if main["image"] is None:
                raise files.AbsentError(
                    f"data.source: {source.path} is not a folder in MNIST's layout: it holds none of "
                    f"{', '.join(_names('train', 'image'))}"
                )
        rest = _checked_paths(held_out, features, source.path) if held_out else {}
        found = cls(_checked_paths(main, features, source.path), rest, features)
        for path in found.paths():
            files.require(path, "data.source")
        return found

    def require_held_out(self) -> None:
        if not self.held_out:
            raise RequestError("data.splits: this idx source has no held-out part (no t10k-images-idx3-ubyte[.gz])")

    def fingerprint(self) -> str:
        digest = hashlib.sha256()
        for part in (self.main, self.held_out):
            for feature, path in sorted(part.items()):
                digest.update(f"{feature} {files.sha256(path)} ".encode())
            digest.update(b"; ")
        return digest.hexdigest()

    def describe(self) -> str:
        return ", ".join(PurePath(path).name for part in (self.main, self.held_out) for path in part.values())

    def paths(self) -> list[str]:
        return [*self.main.values(), *self.held_out.values()]

    def units(self) -> list[Unit]:
        return [*self._units("main"), *self._units("held_out")]

    def types(self) -> "dict[str, pa.DataType]":
        found = {}
        for feature, path in self.main.items():
            with closing(_open(path)) as stream:
                found[feature] = type_of(_header(stream, path).dtype)
        return found

    def read(self, unit: Unit) -> Iterator[Batch]:
        first, count = map(int, unit.token)
        with ExitStack() as stack:
            columns = {}
            for feature, path in self._part(unit.part).items():
                stream = stack.enter_context(closing(_open(path)))
                header = _header(stream, path)
                header.require(feature, self.features[feature])
                columns[feature] = Column(path, stream, header.dtype, header.row)
                if not isinstance(stream, Gunzip):
                    stream.seek(first * header.row_bytes, 1)
            yield from batches(columns, first, count)
            for column in columns.values():
                if isinstance(column.stream, Gunzip) and column.stream.read(1):
                    raise WorkError(f"{column.place} holds more bytes than its header promises")

    def _part(self, part: Part) -> dict[str, str]:
        return self.held_out if part == "held_out" else self.main

    def _units(self, name: Part) -> list[Unit]:
        part = self._part(name)
        if not part:
            return []
        counts, row_bytes, is_plain = {}, 0, True
        for feature, path in part.items():
            with closing(_open(path)) as stream:
                header = _header(stream, path)
                header.require(feature, self.features[feature])
                if isinstance(stream, Gunzip):
                    is_plain = False
                    header.require_room(stream.size())
                else:
                    _check_size(stream, header)
            counts[path] = header.shape[0]
            row_bytes = max(row_bytes, header.row_bytes)
        count = same_count(counts)
        # A gzipped file can be read only from its start, so it is one unit.
        step = max(1, UNIT_BYTES // max(1, row_bytes)) if is_plain else count
        sizes = [(first, min(step, count - first)) for first in range(0, count, max(1, step))]
        return [Unit(name, (first, size), size * row_bytes, size) for first, size in sizes]


def _in_folder(folder: str, part: str, feature: str) -> str | None:
    """Returns the path of a feature's file; None if the folder has no file of such a name.

    Raises:
        RequestError: The folder has several.
    """
    found = [name for name in _names(part, feature) if files.exists(files.join(folder, name))]
    if len(found) > 1:
        raise RequestError(
            f"data.source: {folder} holds {' and '.join(found)}; leave one there, or name the files one by one: "
            "images, labels, …"
        )
    return files.join(folder, found[0]) if found else None


def _names(part: str, feature: str) -> list[str]:
    """Returns the possible names of a file: MNIST's name, and the form with a dot that some unpackers write."""
    what, kind = _NAMES[feature]
    return [f"{part}-{what}{sign}{kind}{end}" for sign in "-." for end in ("", ".gz")]


def _checked_paths(paths: dict[str, str | None], features: Iterable[str], folder: str | None) -> dict[str, str]:
    wanted = {}
    for feature in features:
        path = paths[feature]
        if path is None:
            where = f" in {folder}" if folder else ""
            raise files.AbsentError(
                f"data.source: there is no idx file for the feature {feature!r}{where}; found: {paths}"
            )
        wanted[feature] = path
    return wanted


def _open(path: str) -> BinaryIO | Gunzip:
    stream = files.open_to_read(path)
    start = stream.read(2)
    stream.seek(0)
    return Gunzip(stream, path) if start == b"\x1f\x8b" else stream


def _header(stream: Stream, path: str) -> Header:
    magic = stream.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in TYPES or not magic[3]:
        raise WorkError(
            f"{path} is not an idx file: it begins with {magic.hex(' ') or 'nothing'}; "
            f"an idx file begins with 00 00, a type ({', '.join(f'{t:02x}' for t in TYPES)}) and a number of dimensions"
        )
    dimensions = stream.read(4 * magic[3])
    if len(dimensions) < 4 * magic[3]:
        raise WorkError(f"{path} is truncated: it ends within its header")
    return Header(path, np.dtype(TYPES[magic[2]]), tuple(np.frombuffer(dimensions, ">u4").tolist()))


def _check_size(stream: BinaryIO, header: Header) -> None:
    expected = 4 + 4 * len(header.shape) + header.bytes
    found = stream.seek(0, 2)
    if found != expected:
        wrong = "is truncated" if found < expected else "is too long"
        raise WorkError(f"{header.place} {wrong}: its header ({header}) makes {expected:,} bytes; it holds {found:,}")
