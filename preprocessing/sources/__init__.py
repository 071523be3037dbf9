"""Sources of raw data. A kind is one file here, or an entry point in the group `elboflow.sources`.

The settings of a source name files. `open` finds the files, and returns the raw data as work units and batches
(`preprocessing.raw`).
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
    """A kind of source. An instance contains the settings of one source."""

    group: ClassVar[str] = "elboflow.sources"
    folder: ClassVar[str | None] = __name__

    @property
    def locations(self) -> dict[str, str]:
        """The files and folders in the settings, by setting."""
        return {}

    @property
    def told_names(self) -> list[str]:
        """Names that `Raw.describe` has of what the settings name, wherever that is: those of single files."""
        names = [PurePath(location).name for location in self.locations.values()]
        return [name for name in names if not any(sign in name for sign in "*?[")]

    @property
    def has_held_out(self) -> bool:
        """Whether the source can have a held-out part, for a test split."""
        return False

    @property
    def default_features(self) -> dict[str, Feature]:
        """The features of an experiment without `data.features`."""
        return {}

    def require(self, features: Mapping[str, Feature]) -> None:
        """Checks the features against the settings of the source, without reading data.

        Raises:
            ValueError: The source cannot have these features.
        """

    @abstractmethod
    def open(self, features: Mapping[str, Feature]) -> "Raw":
        """Returns the raw data with these features. Values are read later.

        Raises:
            RequestError: A file does not exist.
            WorkError: A file has another format.
        """


class Sourced(Protocol):
    """The part of `preprocessing.config.DataConfig` used here; a protocol, because that module imports this one."""

    @property
    def source(self) -> Source: ...
    @property
    def features(self) -> Mapping[str, Feature]: ...
    @property
    def splits(self) -> Mapping[str, Any]: ...


def open_source(config: Sourced) -> "Raw":
    """Returns the raw data of a config. Values are read later.

    Raises:
        RequestError: The source needs a file that does not exist.
    """
    return config.source.open(config.features)


def check(config: Sourced) -> None:
    """Checks, before a run, that the files of the source exist.

    Raises:
        RequestError: A file does not exist, or a split needs a held-out part that the source does not have.
    """
    raw = open_source(config)
    if "source" in config.splits.values():
        raw.require_held_out()


def require_offered(source: Source, features: Mapping[str, Feature]) -> None:
    """Checks features for a source that offers its default features only.

    Raises:
        ValueError: The source does not have a feature, or has it as another kind.
    """
    offered = source.default_features
    for name, feature in features.items():
        if name not in offered:
            raise ValueError(f"features: the {source.kind} source has no '{name}'; it has {', '.join(sorted(offered))}")
        if feature.kind != offered[name].kind:
            raise ValueError(f"features: '{name}' is of kind {offered[name].kind}, not {feature.kind}")


def require_known(key: str, named: Mapping[str, str], features: Mapping[str, Feature]) -> None:
    """Checks that the feature names in a source's settings are features of the experiment.

    Args:
        key: Where it says that: `columns`.
        named: What it says.
        features: Those that there are.

    Raises:
        ValueError: A name is not a feature.
    """
    if unknown := sorted(set(named) - set(features)):
        raise ValueError(f"source: {key} for {', '.join(unknown)}; the features are {', '.join(sorted(features))}")
