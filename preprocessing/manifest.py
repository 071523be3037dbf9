"""What a dataset folder says of itself: `dataset.json`, written last.

It holds no time and no path of a machine, so that the same data and config give the same manifest, byte for byte.

A new field needs a default, or a new format and an upgrade of the older ones (`FORMAT`).
"""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeInt, model_validator

from elboflow.artifacts import Format, checksum_added, names
from elboflow.artifacts.spec import FeatureSpec
from elboflow.settings import PossiblyEmpty, Settings, WorkError
from preprocessing import files
from preprocessing.features import Name
from preprocessing.records.schema import Schema, Wire

NAME = "dataset.json"


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
        summaries: By feature and split, what the kind keeps of the stored values: the baseline of later data.
        class_means: For each number, and each category, the mean over the train split's examples of each class.
        counts: Examples by split.
        distinct: Examples by split, without those that have another example's key; None in a manifest of before they
            were counted.
        identity: The features that the keys are made of; None in a manifest of before it was said: the images.
        shards: The files of each split.
        rejected: Examples left out, by reason.
        source: What the dataset was made from.
        kinds: What source and features have from installed packages: distribution and version by `GROUP:KIND`.
        code: The version of this program that wrote it.
    """

    kind: Literal["dataset"] = "dataset"
    digest: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    features: dict[Name, FeatureSpec]
    summaries: dict[str, dict[str, dict[PossiblyEmpty, Any]]]
    class_means: dict[str, dict[str, dict[int, float]]]
    counts: dict[str, int]
    distinct: dict[str, int] | None = None
    identity: list[Name] | None = None
    shards: dict[str, Annotated[list[Shard], Field(min_length=1)]]
    rejected: dict[str, int]
    source: SourceRecord
    kinds: dict[str, str] = Field(default_factory=dict, exclude_if=lambda value: not value)
    code: str

    @model_validator(mode="after")
    def _is_whole(self) -> "Manifest":
        names.check((shard.name for shard in self.all_shards), NAME)
        counts = {split: sum(shard.examples for shard in shards) for split, shards in self.shards.items()}
        if counts != self.counts:
            raise ValueError(f"`counts` is {self.counts}, and the shards hold {counts}")
        least = self.record_schema.least_bytes
        for shard in self.all_shards:
            if shard.examples * least > shard.bytes:
                raise ValueError(
                    f"the {shard.bytes:,} bytes of {shard.name} cannot hold its examples of {least:,} bytes or more"
                )
        largest = max((shard.bytes for shard in self.all_shards), default=0)
        for name, spec in self.features.items():
            if spec.ragged and spec.size > largest:
                raise ValueError(f"no shard can hold the longest {name!r}, of {spec.size:,} values")
        return self

    def to_json(self) -> str:
        """Returns the text of `dataset.json`."""
        return FORMAT.write(self, indent=1)

    @property
    def record_schema(self) -> Schema:
        """What each record of the dataset holds."""
        return Schema.of({name: Wire.of(spec) for name, spec in self.features.items()})

    @property
    def all_shards(self) -> list[Shard]:
        """The shards of all splits."""
        return [shard for shards in self.shards.values() for shard in shards]

    def class_counts(self, category: str, split: str) -> dict[int, int]:
        """Returns the examples of each class of a category in a split."""
        counts = self.summaries[category][split]["counts"]
        return {int(value): count for value, count in counts.items()}


def code_version() -> str:
    """Returns the version of this program."""
    return version("elboflow")


def _specified(facts: dict[str, Any]) -> dict[str, Any]:
    """Upgrades format 2, in which each kind of feature had fields of its own and an image its mean."""
    stored, counts, statistics = facts.pop("features"), facts.pop("categories"), facts.pop("statistics")
    facts["features"], facts["summaries"], facts["class_means"] = {}, {}, {}
    for name, feature in stored.items():
        spec, summaries = _SPECIFIED[feature["kind"]](name, feature, counts, statistics)
        facts["features"][name] = {"kind": feature["kind"], "dtype": feature["dtype"], **spec}
        facts["summaries"][name] = summaries
        if "class_means" in feature:
            facts["class_means"][name] = feature["class_means"]
    return facts


def _image(name: str, feature: Mapping[str, Any], counts: Any, statistics: Any) -> tuple[dict[str, Any], Any]:
    train = {key: value for key, value in statistics[name].items() if key != "mean_image"}
    shape = {key: feature[key] for key in ("shape", "levels")}
    return {**shape, "facts": {"range": feature["range"]}}, {"train": train}


def _category(name: str, feature: Mapping[str, Any], counts: Any, statistics: Any) -> tuple[dict[str, Any], Any]:
    named = feature.get("names")
    levels = len(named) if named else max(feature["classes"], default=0) + 1
    facts = {"classes": feature["classes"], **({"names": named} if named else {})}
    summaries = {split: {"counts": found} for split, found in counts[name].items()}
    return {"levels": levels if levels <= 2**31 else None, "role": "class", "facts": facts}, summaries


def _number(name: str, feature: Mapping[str, Any], counts: Any, statistics: Any) -> tuple[dict[str, Any], Any]:
    return {"role": "amount", "facts": feature["statistics"]["train"]}, feature["statistics"]


# The kinds that format 2 knew; later ones are in no older manifest.
_SPECIFIED = {"image": _image, "category": _category, "number": _number}

# In format 2, the mean of an image of 2048 × 2048 × 3 takes 180 MB.
FORMAT = Format("dataset", Manifest, upgrades=(checksum_added, _specified), largest=2**28)


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
