"""The `data` section of an experiment: the source of the examples, their features, and the splits.

    data:
      source: {kind: idx, path: mnist}
      features: {image: {kind: image, shape: [28, 28, 1], range: [0, 255]}, label: category}
      splits: {train: 0.9, validation: 0.1, test: source}

Only `source` is required. Neither this file nor the kinds of sources and features import heavy packages at the top, so
that a command line checks an experiment at once. `preprocessing.sources.check` checks whether the files exist.
"""

from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from elboflow.settings import Settings
from elboflow.settings.text import shown
from preprocessing.features import Feature, Name
from preprocessing.sources import Source

KEY = "key"
HELD_OUT = "source"
MAX_REJECTED = 0.01


def _fraction(value: Any) -> Any:
    if value == HELD_OUT or (isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 1):
        return value
    raise ValueError(
        f"a split is a fraction in (0, 1], or `{HELD_OUT}`, the part that the source holds out; not {shown(value)}"
    )


Split = Annotated[float | Literal["source"], BeforeValidator(_fraction)]


class Shards(Settings):
    """The size of shards. A worker sorts a shard in memory, so memory must hold a shard several times."""

    short_form: ClassVar = "megabytes"
    megabytes: float = Field(default=16, gt=0, le=2000, description="10^6 bytes of records in a shard")


class DataConfig(Settings):
    """The settings of a dataset."""

    source: Source = Field(description="the raw data")
    features: dict[Name, Feature] = Field(
        default_factory=lambda validated: validated["source"].default_features,
        description="the features of an example, by name; by default those that the source itself has",
    )
    splits: dict[Name, Split] = Field(
        default={"train": 0.8, "validation": 0.1, "test": 0.1},
        description="for each split a fraction of the examples, assigned by a hash of the example's content; or "
        "`source`, the held-out part of the source, which without such a split is pooled with the rest",
    )
    # Settings newer than 737760e are left out of a dump at their default, so that digests of whole dumps stay valid.
    identity: Annotated[list[Name], Field(min_length=1)] | None = Field(
        default=None,
        exclude_if=lambda v: v is None,
        description="the features that identify an example: examples with equal values of them have the same key and "
        "the same split; by default the images and tokens, or, if there are none, all features",
    )
    max_reject_fraction: float = Field(
        default=MAX_REJECTED,
        ge=0,
        le=1,
        exclude_if=lambda v: v == MAX_REJECTED,
        description="the largest fraction of examples that may be rejected; more are an error; the dataset's "
        "`rejected.jsonl` lists them",
    )
    limit: Annotated[int, Field(ge=1)] | None = Field(
        default=None,
        exclude_if=lambda v: v is None,
        description="only the first so many examples of the source, and of its held-out part, are read, by one worker; "
        "null: all are",
    )
    shards: Shards = Field(Shards(), description="the size of the files of a dataset")
    workers: int = Field(default=1, ge=1, le=256, description="Beam workers; the records do not depend on their number")

    def at(self, moment: datetime) -> "DataConfig":
        """Returns the settings of the data of a date: `{date}` in the source's locations is replaced."""
        return self.model_copy(update={"source": self.source.at(moment)})

    @property
    def identifying(self) -> list[str]:
        """The names of the features whose values are hashed into an example's key, sorted."""
        if self.identity is not None:
            return sorted(self.identity)
        return sorted(name for name, feature in self.features.items() if feature.identifies) or sorted(self.features)

    @field_validator("splits", mode="before")
    @classmethod
    def _are_by_name(cls, splits: Any) -> Any:
        if isinstance(splits, dict):
            return splits
        train = splits if isinstance(splits, float) and 0 < splits < 1 else 0.8
        rest = f"{(1 - train) / 2:.12g}"
        raise ValueError(
            f"{shown(splits)} is not allowed; must be a section with the fraction of each split, such as "
            f"{{train: {train}, validation: {rest}, test: {rest}}}"
        )

    @field_validator("splits")
    @classmethod
    def _fractions_sum_to_one(cls, splits: dict[str, float | str]) -> dict[str, float | str]:
        fractions = [fraction for fraction in splits.values() if not isinstance(fraction, str)]
        if not isinstance(splits.get("train"), float):
            raise ValueError(f"splits must give `train` a fraction; given: {shown(splits)}")
        if abs(sum(fractions) - 1) > 1e-9:
            raise ValueError(f"the fractions of splits must sum to 1; {shown(splits)} sum to {sum(fractions):.6g}")
        if len(splits) - len(fractions) > 1:
            raise ValueError(f"only one split can be `{HELD_OUT}`, the one held-out part of a source: {shown(splits)}")
        return splits

    @model_validator(mode="after")
    def _features_are_in_the_source(self) -> "DataConfig":
        if KEY in self.features:
            raise ValueError(f"features: the name `{KEY}` is taken by the hash of each example's content")
        self.source.require(self.features)
        if not self.features:
            raise ValueError("features: at least one must be given")
        if unknown := sorted(set(self.identity or ()) - set(self.features)):
            raise ValueError(f"identity: {', '.join(unknown)}; the features are {', '.join(sorted(self.features))}")
        if HELD_OUT in self.splits.values() and not self.source.has_held_out:
            raise ValueError(f"splits: this {self.source.kind} source has no held-out part; give each split a fraction")
        return self
