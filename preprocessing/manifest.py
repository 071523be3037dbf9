"""What a dataset folder says of itself: `dataset.json`, written last.

It holds no time and no path of a machine, so that the same data and config give the same manifest, byte for byte.

A new field needs a default, or a new format and an upgrade of the older ones (`FORMAT`).
"""

import hashlib
import json
import math
from importlib.metadata import version
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from elboflow.artifacts import Format, checksum_added, names
from elboflow.settings import PossiblyEmpty, Settings, WorkError
from preprocessing import files
from preprocessing.config import KEY, CategoryFeature, DataConfig, ImageFeature, Name, NumberFeature
from preprocessing.records import Schema
from preprocessing.summary import Summary
from preprocessing.vocabulary import Names

RECORDS = 1
"""The version of what is written for a source and settings. It is part of a digest; the manifest's format is not."""
NAME = "dataset.json"


class Image(Settings):
    """An image feature as stored: one uint8 code in 0 … levels - 1 per value, in C order."""

    kind: Literal["image"] = "image"
    dtype: Literal["uint8"] = "uint8"
    shape: tuple[PositiveInt, PositiveInt, PositiveInt]
    range: tuple[int | float, int | float]
    levels: Annotated[int, Field(ge=2, le=256)]


class Category(Settings):
    """A category as stored.

    Attributes:
        classes: The classes that occur in the dataset.
        names: The name of class 0, of class 1, and so on, where the source gives names; None where it gives numbers.
    """

    kind: Literal["category"] = "category"
    dtype: Literal["int64"] = "int64"
    classes: list[int]
    names: list[PossiblyEmpty] | None = None


class NumberStatistics(Settings):
    """A number feature over the examples of a split."""

    mean: float
    min: float
    max: float


class Number(Settings):
    """A number as stored, one float32 per example.

    Attributes:
        statistics: By split.
        class_means: For each category, the mean over the train split's examples of each class.
    """

    kind: Literal["number"] = "number"
    dtype: Literal["float32"] = "float32"
    statistics: dict[str, NumberStatistics]
    class_means: dict[str, dict[int, float]]


class Statistics(Settings):
    """The codes of an image feature over the train split.

    Attributes:
        mean: Over all positions, as the others.
        std: Their standard deviation.
        min: The smallest code.
        max: The largest.
        mean_image: The mean of each position, flat, in the order of the codes.
        raw: The smallest and the largest raw value; None in a manifest of before they were kept.
    """

    mean: float
    std: float
    min: int
    max: int
    mean_image: list[float]
    raw: tuple[float, float] | None = None


class Shard(Settings):
    """A TFRecord file of the dataset."""

    name: str
    examples: NonNegativeInt
    bytes: NonNegativeInt
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class SourceRecord(Settings):
    """What the dataset was made from."""

    kind: str
    description: str
    fingerprint: str


class Manifest(Settings):
    """A finished dataset.

    Attributes:
        digest: The content address: a function of the source's content and of the settings that decide what is written.
        features: What an example holds, besides its key.
        counts: Examples by split.
        distinct: Examples by split, without those whose images are another example's; None in a manifest of before
            they were counted.
        categories: For each category feature, examples by split and class.
        statistics: For each image feature, its codes over the train split.
        shards: The files of each split.
        rejected: Examples left out, by reason.
        source: What the dataset was made from.
        code: The version of this program that wrote it.
    """

    kind: Literal["dataset"] = "dataset"
    digest: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    features: dict[Name, Annotated[Image | Category | Number, Field(discriminator="kind")]]
    counts: dict[str, int]
    distinct: dict[str, int] | None = None
    categories: dict[str, dict[str, dict[int, int]]]
    statistics: dict[str, Statistics]
    shards: dict[str, Annotated[list[Shard], Field(min_length=1)]]
    rejected: dict[str, int]
    source: SourceRecord
    code: str

    @model_validator(mode="after")
    def _is_whole(self) -> "Manifest":
        names.check((shard.name for shard in self.all_shards), NAME)
        counts = {split: sum(shard.examples for shard in shards) for split, shards in self.shards.items()}
        if counts != self.counts:
            raise ValueError(f"`counts` is {self.counts}, and the shards hold {counts}")
        codes = sum(self.record_schema.images.values())
        for shard in self.all_shards:
            if shard.examples * codes > shard.bytes:
                raise ValueError(
                    f"the {shard.bytes:,} bytes of {shard.name} cannot hold its examples of {codes:,} codes"
                )
        return self

    def to_json(self) -> str:
        """Returns the text of `dataset.json`."""
        return FORMAT.write(self, indent=1)

    @property
    def record_schema(self) -> Schema:
        """What each record of the dataset holds."""
        images = {name: math.prod(f.shape) for name, f in self.features.items() if isinstance(f, Image)}
        categories = [name for name, feature in self.features.items() if isinstance(feature, Category)]
        numbers = [name for name, feature in self.features.items() if isinstance(feature, Number)]
        return Schema(images, (*categories, KEY), tuple(numbers))

    @property
    def all_shards(self) -> list[Shard]:
        """The shards of all splits."""
        return [shard for shards in self.shards.values() for shard in shards]


# The mean of an image of 2048 × 2048 × 3 takes 180 MB.
FORMAT = Format("dataset", Manifest, upgrades=(checksum_added,), largest=2**28)


def digest(config: DataConfig, fingerprint: str) -> str:
    """Returns the content address of the dataset that a config and a source of this fingerprint make."""
    decides = config.model_dump(mode="json", include={"features", "splits", "shards"})
    content = {"format": RECORDS, "kind": config.source.kind, "fingerprint": fingerprint, **decides}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def describe(
    config: DataConfig, source: SourceRecord, summary: Summary, shards: dict[str, list[Shard]], names: Names
) -> Manifest:
    """Returns the manifest of a dataset that has just been written."""
    features: dict[str, Image | Category | Number] = {}
    for name, feature in sorted(config.features.items()):
        if isinstance(feature, ImageFeature):
            features[name] = Image(shape=feature.shape, range=feature.range, levels=feature.levels)
        elif isinstance(feature, CategoryFeature):
            found = {value for counts in summary.classes(name).values() for value in counts}
            named = names.get(name)
            features[name] = Category(classes=sorted(found), names=None if named is None else list(named))
        elif isinstance(feature, NumberFeature):
            features[name] = _number(summary, name, config)
    return Manifest(
        digest=digest(config, source.fingerprint),
        features=features,
        counts={split: sum(shard.examples for shard in shards[split]) for split in sorted(config.splits)},
        distinct={split: sum(shard.distinct for shard in summary.of(split)) for split in sorted(config.splits)},
        categories={name: summary.classes(name) for name in config.categories},
        statistics={name: _statistics(summary, name) for name in config.images},
        shards=shards,
        rejected=summary.rejected,
        source=source,
        code=version("elboflow"),
    )


def _number(summary: Summary, name: str, config: DataConfig) -> Number:
    statistics = {}
    for split in sorted(config.splits):
        found = [shard.numbers[name] for shard in summary.of(split)]
        count = sum(shard.examples for shard in summary.of(split))
        mean = math.fsum(numbers.sum for numbers in found) / count
        lowest, highest = min(numbers.min for numbers in found), max(numbers.max for numbers in found)
        statistics[split] = NumberStatistics(mean=mean, min=lowest, max=highest)
    class_means = {}
    for category in config.categories:
        sums = [shard.numbers[name].by_class[category] for shard in summary.of("train")]
        counts = summary.classes(category)["train"]
        class_means[category] = {
            value: math.fsum(by_class.get(value, 0.0) for by_class in sums) / count for value, count in counts.items()
        }
    return Number(statistics=statistics, class_means=class_means)


def _statistics(summary: Summary, name: str) -> Statistics:
    moments = summary.moments[name]
    values = moments.count * len(moments.sums)
    mean = sum(moments.sums) / values
    return Statistics(
        mean=mean,
        std=math.sqrt(max(0.0, moments.sum_of_squares / values - mean**2)),
        min=moments.min,
        max=moments.max,
        mean_image=(np.array(moments.sums) / moments.count).round(6).tolist(),
        raw=(summary.trained[name].low, summary.trained[name].high),
    )


def load(folder: str) -> Manifest:
    """Reads the manifest of a dataset folder.

    Raises:
        WorkError: The folder holds no finished dataset, its manifest is damaged, or this version cannot read it.
    """
    path = files.join(folder, NAME)
    try:
        with files.open_within(folder, NAME) as file:
            return FORMAT.read(file.read(FORMAT.largest + 1), path)
    except FileNotFoundError:
        raise WorkError(f"{folder} is not a finished dataset: it holds no {NAME}") from None
