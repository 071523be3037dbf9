"""Sources of raw data. A kind is one file here, or an entry point in the group `elboflow.sources`.

The settings of a source name files. `open` finds the files, and returns the raw data as work units and batches
(`preprocessing.raw`).
"""

from abc import abstractmethod
from collections.abc import Mapping
from datetime import datetime
from pathlib import PurePath
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Protocol, Self

from pydantic import PrivateAttr, model_validator

from elboflow.settings import RequestError
from elboflow.settings.explain import ConflictsError, Problem
from elboflow.settings.kinds import Kind
from elboflow.settings.locations import allowing
from preprocessing import dates
from preprocessing.features import Feature
from preprocessing.files import SCHEMES

if TYPE_CHECKING:
    from preprocessing.raw import Raw

Location = Annotated[str, allowing(*SCHEMES)]


class Source(Kind):
    """A kind of source. An instance contains the settings of one source."""

    group: ClassVar[str] = "elboflow.sources"
    folder: ClassVar[str | None] = __name__
    _date: str | None = PrivateAttr(None)

    @model_validator(mode="after")
    def _dates_are_understood(self) -> Self:
        problems = []
        for key, location in self.locations.items():
            try:
                dates.check(location)
            except ValueError as error:
                problems.append(Problem((key,), str(error)))
        if problems:
            raise ConflictsError(problems)
        return self

    @property
    def is_dated(self) -> bool:
        """Whether a location has a field `{date}`, so that each date has data of its own."""
        return any(map(dates.is_dated, self.locations.values()))

    def at(self, moment: datetime) -> Self:
        """Returns the source of a date: `{date}` in its locations is replaced."""
        found = {key: dates.at(text, moment) for key, text in self.locations.items() if dates.is_dated(text)}
        dated = self.model_copy(update=found)
        if found:
            dated._date = dates.written(moment)
        return dated

    def date_of(self, moment: datetime) -> str:
        """Returns a date as far as the locations show it: without its time, where none shows one."""
        shows_time = any(map(dates.has_time, self.locations.values()))
        return dates.written(moment if shows_time else moment.date())

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
            AbsentError: A file does not exist (`preprocessing.files`).
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
    @property
    def limit(self) -> int | None: ...


def open_source(config: Sourced, features: Mapping[str, Feature] | None = None) -> "Raw":
    """Returns the raw data of a config. Values are read later.

    Args:
        config: The settings of the dataset.
        features: The features to read; by default those of the config.

    Raises:
        RequestError: The source needs a file that does not exist; the message names its date, where it has one.
    """
    try:
        raw = config.source.open(config.features if features is None else features)
    except RequestError as error:
        if config.source._date is None:
            raise
        raise type(error)(f"there are no data of the date {config.source._date}: {error}") from None
    if config.limit is None:
        return raw
    from preprocessing.raw.limited import Limited

    return Limited(raw, config.limit)


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
