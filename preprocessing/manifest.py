"""The manifest of a dataset folder: `dataset.json`, written last.

A manifest contains no time and no local path, so that the same data and config give the same manifest, byte for byte.

A new field needs a default, or a new format version and an upgrade of older ones (`FORMAT`).
"""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeInt, model_validator

from elboflow.artifacts import Format, checksum_added, names
from elboflow.artifacts.spec import FeatureSpec
from elboflow.settings import PossiblyEmpty, Settings, WorkError, html
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
    """The source of a dataset."""

    kind: str
    description: str
    fingerprint: str


class Manifest(Settings):
    """A finished dataset.

    Attributes:
        digest: The content address (`preprocessing.address`).
        features: The specs of an example's features, by name; the key is not among them.
        summaries: Summary statistics of the stored values, by feature and split: the baseline for later data.
        class_means: The mean of each number over the train examples of each class, by number and category.
        counts: Examples by split.
        distinct: Distinct keys by split; None in older manifests.
        identity: The features that are hashed into the key; None in older manifests, which means the images.
        shards: The files of each split.
        rejected: Rejected examples, by reason.
        source: The source of the dataset.
        kinds: The kinds of source and features that installed packages define: distribution and version by
            `GROUP:KIND`.
        code: The version of this program that wrote the dataset.
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

    def _repr_html_(self) -> str:
        """Returns splits and features as a notebook shows them."""
        splits = [
            (split, f"{count:,}", "" if self.distinct is None else f"{self.distinct[split]:,}", len(self.shards[split]))
            for split, count in self.counts.items()
        ]
        features = [
            (name, spec.kind, spec.dtype, "×".join(map(str, spec.shape)) or "one", spec.levels or "")
            for name, spec in self.features.items()
        ]
        rejected = f"{sum(self.rejected.values()):,} rejected"
        return html.table(
            f"Dataset {self.digest[:12]}… from {self.source.description}",
            ("split", "examples", "distinct", "shards"),
            splits,
        ) + html.table("Features", ("name", "kind", "stored as", "values", "levels"), features, rejected)

    @model_validator(mode="after")
    def _is_consistent(self) -> "Manifest":
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
        """The schema of the dataset's records."""
        return Schema.of({name: Wire.of(spec) for name, spec in self.features.items()})

    @property
    def all_shards(self) -> list[Shard]:
        """The shards of all splits."""
        return [shard for shards in self.shards.values() for shard in shards]

    def class_counts(self, category: str, split: str) -> dict[int, int]:
        """Returns the number of examples of each class of a category in a split."""
        counts = self.summaries[category][split]["counts"]
        return {int(value): count for value, count in counts.items()}


def code_version() -> str:
    """Returns the version of this program."""
    return version("elboflow")


def _upgrade_specs(facts: dict[str, Any]) -> dict[str, Any]:
    """Upgrades format 2, in which the fields of a feature depended on its kind, and an image stored its mean image."""
    stored, counts, statistics = facts.pop("features"), facts.pop("categories"), facts.pop("statistics")
    facts["features"], facts["summaries"], facts["class_means"] = {}, {}, {}
    for name, feature in stored.items():
        spec, summaries = _SPEC_UPGRADES[feature["kind"]](name, feature, counts, statistics)
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


# All kinds of format 2. Newer kinds cannot occur in such a manifest.
_SPEC_UPGRADES = {"image": _image, "category": _category, "number": _number}

# In format 2, the mean of an image of 2048 × 2048 × 3 takes 180 MB.
FORMAT = Format("dataset", Manifest, upgrades=(checksum_added, _upgrade_specs), largest=2**28)


def load(folder: str) -> Manifest:
    """Reads the manifest of a dataset folder.

    Raises:
        WorkError: The folder contains no finished dataset, its manifest is damaged, or this version cannot read it.
    """
    path = files.join(folder, NAME)
    try:
        with files.open_within(folder, NAME) as file:
            return FORMAT.read(file.read(FORMAT.largest + 1), path)
    except FileNotFoundError:
        raise WorkError(f"{folder} is not a finished dataset: it holds no {NAME}") from None
