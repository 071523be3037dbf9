"""Sources: where raw data come from. One kind is one file here, or an entry point in the group `elboflow.sources`.

A source's settings name places; `open` finds what is there, and gives work units and batches (`preprocessing.raw`).
"""

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Protocol

from elboflow.settings.kinds import Kind
from elboflow.settings.locations import allowing
from preprocessing.features import Feature
from preprocessing.files import SCHEMES

if TYPE_CHECKING:
    from preprocessing.raw import Raw

Location = Annotated[str, allowing(*SCHEMES)]


class Source(Kind):
    """A kind of source; an instance holds the settings of one."""

    group: ClassVar[str] = "elboflow.sources"
    folder: ClassVar[str | None] = __name__

    @property
    def locations(self) -> dict[str, str]:
        """The files and folders that are named, by their keys."""
        return {}

    @property
    def told_names(self) -> list[str]:
        """Names that `Raw.describe` has of what the settings name, wherever that is: those of single files."""
        names = [PurePath(location).name for location in self.locations.values()]
        return [name for name in names if not any(sign in name for sign in "*?[")]

    @property
    def has_held_out(self) -> bool:
        """Whether the source may hold some examples out, for a test."""
        return False

    @property
    def default_features(self) -> dict[str, Feature]:
        """The features of an experiment that names none."""
        return {}

    def require(self, features: Mapping[str, Feature]) -> None:
        """Checks that the source may have such features, as far as its settings tell.

        Raises:
            ValueError: It cannot.
        """

    @abstractmethod
    def open(self, features: Mapping[str, Feature]) -> "Raw":
        """Returns the raw data with these features, of which no value is read yet.

        Raises:
            RequestError: A file does not exist.
            WorkError: What is there cannot be a source of this kind.
        """


class Sourced(Protocol):
    """What `preprocessing.config.DataConfig` has, which imports this file."""

    @property
    def source(self) -> Source: ...
    @property
    def features(self) -> Mapping[str, Feature]: ...
    @property
    def splits(self) -> Mapping[str, Any]: ...


def open_source(config: Sourced) -> "Raw":
    """Returns the raw data that a config names, without reading any of it.

    Raises:
        RequestError: The source needs a file that does not exist.
    """
    return config.source.open(config.features)


def check(config: Sourced) -> None:
    """Checks, before anything runs, that the files of the source exist.

    Raises:
        RequestError: One of them does not.
    """
    raw = open_source(config)
    if "source" in config.splits.values():
        raw.require_held_out()


def require_offered(source: Source, features: Mapping[str, Feature]) -> None:
    """Checks features against the default ones, where a source has these and no others.

    Raises:
        ValueError: One is not there, or of another kind.
    """
    offered = source.default_features
    for name, feature in features.items():
        if name not in offered:
            raise ValueError(f"features: the {source.kind} source has no '{name}'; it has {', '.join(sorted(offered))}")
        if feature.kind != offered[name].kind:
            raise ValueError(f"features: '{name}' is of kind {offered[name].kind}, not {feature.kind}")


def require_known(key: str, named: Mapping[str, str], features: Mapping[str, Feature]) -> None:
    """Checks that what a source says of features, by their names, is of features that there are.

    Args:
        key: Where it says that: `columns`.
        named: What it says.
        features: Those that there are.

    Raises:
        ValueError: It says something of another name.
    """
    if unknown := sorted(set(named) - set(features)):
        raise ValueError(f"source: {key} for {', '.join(unknown)}; the features are {', '.join(sorted(features))}")
