"""The `data` section of an experiment: where examples come from, what they are made of, how they are split.

    data:
      source: {kind: idx, path: mnist}
      features: {image: {kind: image, shape: [28, 28, 1], range: [0, 255]}, label: category}
      splits: {train: 0.9, validation: 0.1, test: source}

Only `source` must be given. A command line checks an experiment at once: neither this file nor the kinds that it finds
import anything heavy. Whether the files exist is `preprocessing.sources.check`'s question.
"""

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
    """How the records are cut into files. A shard is sorted in memory, so it should fit there several times."""

    short_form: ClassVar = "megabytes"
    megabytes: float = Field(default=16, gt=0, le=2000)


class DataConfig(Settings):
    """What a dataset is made from.

    Attributes:
        source: Where the examples come from.
        features: What an example is made of. Defaults to what the source holds.
        splits: A fraction of the examples for each split, by a hash of the example's content; or `source`, the part
            that the source itself holds out. Without such a split a held-out part is pooled with the rest.
        identity: The features whose values make two examples the same: they get one key, and are in one split. By
            default those of a kind that identifies, which images and tokens do; if there are none, all features.
        max_reject_fraction: How many of the examples may be left out because they do not fit, as a fraction; more are
            an error. Those left out are listed in the dataset's `rejected.jsonl`.
        shards: How the records are cut into files.
        workers: How many Beam workers do the work. It does not change what is written.
    """

    source: Source
    features: dict[Name, Feature] = Field(default_factory=lambda validated: validated["source"].default_features)
    splits: dict[Name, Split] = Field(default={"train": 0.8, "validation": 0.1, "test": 0.1})
    # What is newer than 737760e is not written where it is the default: digests of whole dumps stay what they were.
    identity: Annotated[list[Name], Field(min_length=1)] | None = Field(default=None, exclude_if=lambda v: v is None)
    max_reject_fraction: float = Field(default=MAX_REJECTED, ge=0, le=1, exclude_if=lambda v: v == MAX_REJECTED)
    shards: Shards = Shards()
    workers: int = Field(default=1, ge=1, le=256)

    @property
    def identifying(self) -> list[str]:
        """The names of the features that an example's key is made of, sorted."""
        if self.identity is not None:
            return sorted(self.identity)
        return sorted(name for name, feature in self.features.items() if feature.identifies) or sorted(self.features)

    @field_validator("splits")
    @classmethod
    def _make_a_whole(cls, splits: dict[str, float | str]) -> dict[str, float | str]:
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
