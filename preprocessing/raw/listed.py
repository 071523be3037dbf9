"""Sources of one or more files, each read from start to end: text, lines of JSON, tables."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import takewhile
from typing import Annotated, BinaryIO, ClassVar, Self

from pydantic import Field

from elboflow.settings import RequestError
from elboflow.settings.digest import canonical, digest
from elboflow.settings.locations import allowing, scheme
from elboflow.settings.text import short
from preprocessing import files
from preprocessing.features import Feature, Name
from preprocessing.raw import Batch, Part, Raw, Unit
from preprocessing.raw.gzipped import Gunzip
from preprocessing.sources import Source, require_known

FilesLocation = Annotated[str, allowing(*files.SCHEMES, files.PACKAGE)]

_PARTS: tuple[tuple[Part, str], ...] = (("main", "path"), ("held_out", "held_out"))
_MOST_NAMED = 3
_MOST_COLUMNS = 50  # in an error


class ListedSource(Source):
    """The settings of a source of files."""

    main: ClassVar = "path"
    path: FilesLocation = Field(
        description="a path of this machine or a URI of a bucket, with the wildcards *, ? and […] for several files; "
        "or package://DISTRIBUTION/PATH for files of an installed distribution"
    )
    held_out: FilesLocation | None = Field(
        None, description="the files of the held-out part, written like `path`; null: the source has none"
    )

    @property
    def locations(self) -> dict[str, str]:
        return {"path": self.path, **({"held_out": self.held_out} if self.held_out else {})}

    @property
    def has_held_out(self) -> bool:
        return self.held_out is not None


class TableSource(ListedSource):
    """The settings of a source of files with named columns."""

    columns: dict[Name, str] = Field(
        default={}, description="the column of a feature, by the feature's name; by default the one of the same name"
    )

    def require(self, features: Mapping[str, Feature]) -> None:
        require_known("columns", self.columns, features)


@dataclass(frozen=True)
class Listed(Raw):
    """The files that match a source's `path` and `held_out`. A file is a work unit.

    Attributes:
        source: The settings.
        features: The features to read.
        main: The files of the main part, sorted.
        held_out: The files of the held-out part, sorted.
    """

    source: ListedSource
    features: Mapping[str, Feature]
    main: tuple[str, ...]
    held_out: tuple[str, ...]

    @classmethod
    def find(cls, source: ListedSource, features: Mapping[str, Feature]) -> Self:
        """Finds the files.

        Raises:
            AbsentError: No file matches.
            RequestError: The files cannot be listed.
        """
        found: dict[Part, tuple[str, ...]] = {}
        for part, key in _PARTS:
            location = source.locations.get(key)
            found[part] = tuple(files.matching(location)) if location else ()
            if location and not found[part]:
                raise files.AbsentError(f"data.source: there is no file {location}")
        return cls(source, features, found["main"], found["held_out"])

    @abstractmethod
    def read(self, unit: Unit) -> Iterator[Batch]: ...

    def require_held_out(self) -> None:
        if not self.held_out:
            raise RequestError(f"data.splits: this {self.source.kind} source names no `held_out` files")

    def fingerprint(self) -> str:
        settings = {name: value for name, value in canonical(self.source).items() if name not in dict(_PARTS).values()}
        content = [[part, self.name(path), files.sha256(path)] for part, _ in _PARTS for path in self.of(part)]
        return digest({"settings": settings, "features": sorted(self.features), "files": content})

    def describe(self) -> str:
        names = [self.name(path) for path in (*self.main, *self.held_out)]
        more = f" and {len(names) - _MOST_NAMED:,} more files" if len(names) > _MOST_NAMED else ""
        return ", ".join(names[:_MOST_NAMED]) + more

    def paths(self) -> list[str]:
        # Files of installed distributions exist on every machine with the same environment.
        return [path for path in (*self.main, *self.held_out) if scheme(path) != files.PACKAGE]

    def units(self) -> list[Unit]:
        return [Unit(part, (number,), _size(path)) for part, _ in _PARTS for number, path in enumerate(self.of(part))]

    def of(self, part: Part) -> tuple[str, ...]:
        """Returns the files of a part."""
        return self.held_out if part == "held_out" else self.main

    def path(self, unit: Unit) -> str:
        """Returns the file of a work unit."""
        return self.of(unit.part)[int(unit.token[0])]

    def name(self, path: str) -> str:
        """Returns a file's path relative to the common folder of its part, which is independent of the machine."""
        return _below_common_folder(path, self.main if path in self.main else self.held_out)

    def short_place(self, place: str) -> str:
        return _below_common_folder(place, (*self.main, *self.held_out))


@dataclass(frozen=True)
class ListedTables(Listed):
    """The files of a source with named columns."""

    def column(self, feature: str) -> str:
        """Returns the column of a feature."""
        assert isinstance(self.source, TableSource)
        return self.source.columns.get(feature, feature)

    def require_columns(self, path: str, names: Sequence[str]) -> None:
        """Checks that a file with columns of these names has one for each feature.

        Raises:
            RequestError: It has none, or several of one name.
        """
        for column in map(self.column, self.features):
            if column not in names:
                raise RequestError(f"data.source: {path} has no column {column!r}; it has {some(names)}")
            if (count := list(names).count(column)) > 1:
                raise RequestError(f"data.source: {path} has {count} columns {column!r}; a feature is one column")


def some(names: Sequence[str]) -> str:
    """Returns names as words for an error; of many, the first ones, and how many more there are."""
    more = f" and {len(names) - _MOST_COLUMNS:,} more" if len(names) > _MOST_COLUMNS else ""
    return ", ".join(map(short, names[:_MOST_COLUMNS])) + more


def _below_common_folder(path: str, paths: Sequence[str]) -> str:
    """Returns one of some paths without the folders that all of them share."""
    folders = zip(*(each.split("/")[:-1] for each in paths), strict=False)
    common = sum(1 for _ in takewhile(lambda names: len(set(names)) == 1, folders))
    return "/".join(path.split("/")[common:])


@contextmanager
def opened(path: str) -> Iterator["BinaryIO | Gunzip"]:
    """Opens a file, plain or gzipped, as a stream of its content."""
    stream = files.open_to_read(path)
    with stream:
        start = stream.read(2)
        stream.seek(0)
        yield Gunzip(stream, path) if start == b"\x1f\x8b" else stream


def _size(path: str) -> int:
    with files.open_to_read(path) as stream:
        return stream.seek(0, 2)
