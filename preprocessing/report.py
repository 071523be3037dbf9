"""Reports of the workers: plain data, sent as JSON, and merged in any order."""

from collections import Counter
from collections.abc import Iterable, Mapping
from functools import reduce
from typing import Any

from pydantic import Field

from elboflow.settings import PossiblyEmpty, Settings
from preprocessing.extent import Extent
from preprocessing.features import Feature
from preprocessing.plan import Plan


class WrittenShard(Settings):
    """A shard under its temporary name.

    Attributes:
        split: The split of the shard.
        number: The number of the shard within its split.
        name: The temporary path.
        examples: The number of examples.
        distinct: The number of distinct keys. Examples with equal keys are in the same shard.
        bytes: The size of the file.
        sha256: The checksum of the file.
        statistics: The statistics of each feature's stored values.
        class_sums: By feature with role "amount", feature with role "class", and class: the number of values and their
            exact sum (`preprocessing.sums`).
    """

    split: str
    number: int
    name: str
    examples: int
    distinct: int
    bytes: int
    sha256: str
    statistics: dict[str, dict[PossiblyEmpty, Any]]
    class_sums: dict[str, dict[str, dict[int, tuple[int, int]]]] = Field(default={})


class Reason(Settings):
    """Examples rejected for one reason.

    Attributes:
        feature: The feature whose value does not fit; None if the row itself cannot be read.
        reason: The rule that the values break.
        count: The number of examples.
        at: Unit and row of the first example, in the order of the source.
        example: The first example, in a sentence.
    """

    feature: str | None
    reason: str
    count: int
    at: tuple[int, int]
    example: str

    def merged(self, other: "Reason") -> "Reason":
        """Returns the sum of two reasons with the same feature and sentence."""
        first = min(self, other, key=lambda reason: reason.at)
        return first.model_copy(update={"count": self.count + other.count})


class RejectedFile(Settings):
    """A file with a line of JSON for each rejected example of a batch. `at` is the unit and the first rejected row."""

    at: tuple[int, int]
    path: str


class Report(Settings):
    """The report of one worker, or the merged report of several.

    Attributes:
        read: Rows that were read, by part of the source.
        shards: The written shards.
        looks: For each feature that must be fitted, the statistics for its fit (`Feature.Look`).
        seen: For each feature with an extent, the extent of its raw values in all rows.
        trained: For each feature with an extent, the extent of its raw values in the train split.
        reasons: Why examples were rejected.
        rejected: The files that list the rejected examples.
        leaked: Examples left out because the held-out part of the source contains the same ones.
        problems: Errors that the user can fix, in sentences.
    """

    read: dict[str, int] = Field(default={})
    shards: list[WrittenShard] = Field(default=[])
    looks: dict[str, dict[PossiblyEmpty, Any]] = Field(default={})
    seen: dict[str, Extent] = Field(default={})
    trained: dict[str, Extent] = Field(default={})
    reasons: list[Reason] = Field(default=[])
    rejected: list[RejectedFile] = Field(default=[])
    leaked: int = 0
    problems: list[PossiblyEmpty] = Field(default=[])

    def merged(self, other: "Report", features: Mapping[str, Feature]) -> "Report":
        """Returns the merged report of two disjoint parts of the work."""
        return Report(
            read=dict(Counter(self.read) + Counter(other.read)),
            shards=[*self.shards, *other.shards],
            looks=_merged_looks(self.looks, other.looks, features),
            seen=extents_merged(self.seen, other.seen),
            trained=extents_merged(self.trained, other.trained),
            reasons=reasons_merged([*self.reasons, *other.reasons]),
            rejected=[*self.rejected, *other.rejected],
            leaked=self.leaked + other.leaked,
            problems=[*self.problems, *other.problems],
        )

    @property
    def left_out(self) -> int:
        """The number of rejected examples."""
        return sum(reason.count for reason in self.reasons)

    def of(self, split: str) -> list[WrittenShard]:
        """Returns the shards of a split, by number."""
        return sorted((shard for shard in self.shards if shard.split == split), key=lambda shard: shard.number)

    def to_json(self) -> bytes:
        """Returns the report as the workers send it."""
        return self.model_dump_json().encode()


class Total:
    """Merges reports in JSON: the function of Beam's `CombineGlobally`."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def __call__(self, reports: Iterable[bytes]) -> bytes:
        """Returns the merged report."""
        read = map(Report.model_validate_json, reports)
        return reduce(lambda left, right: left.merged(right, self.plan.config.features), read, Report()).to_json()


def extents_merged(left: Mapping[str, Extent], right: Mapping[str, Extent]) -> dict[str, Extent]:
    """Returns the merged extent of each feature."""
    both = left.keys() & right.keys()
    return {**left, **right, **{name: left[name].merged(right[name]) for name in both}}


def reasons_merged(reasons: Iterable[Reason]) -> list[Reason]:
    """Merges reasons with the same feature and sentence; sorted by feature and sentence."""
    found: dict[tuple[str, str], Reason] = {}
    for reason in reasons:
        key = (reason.feature or "", reason.reason)
        found[key] = found[key].merged(reason) if key in found else reason
    return [found[key] for key in sorted(found)]


def _merged_looks(
    left: Mapping[str, dict[str, Any]], right: Mapping[str, dict[str, Any]], features: Mapping[str, Feature]
) -> dict[str, dict[str, Any]]:
    merged = {**left, **right}
    for name in left.keys() & right.keys():
        kind = features[name].Look
        merged[name] = kind.model_validate(left[name]).merged(kind.model_validate(right[name])).model_dump(mode="json")
    return merged
