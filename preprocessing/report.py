"""What the workers tell of their work: plain data, merged in any order, in JSON on the way."""

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
        split: The split that it is a part of.
        number: Which part.
        name: The temporary name.
        examples: How many it holds.
        distinct: How many different keys they have. Examples with one key are in one shard.
        bytes: Its size.
        sha256: Its checksum.
        statistics: For each feature, what its kind says of the stored values.
        class_sums: For each amount and each category, by class, how many and their exact sum (`preprocessing.sums`).
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
    """Examples left out for one reason.

    Attributes:
        feature: The feature whose value does not fit; None where there is no row at all.
        reason: What is allowed.
        count: How many examples.
        at: Unit and row of the first of them, in the source's order.
        example: The first of them, in a sentence.
    """

    feature: str | None
    reason: str
    count: int
    at: tuple[int, int]
    example: str

    def merged(self, other: "Reason") -> "Reason":
        """Returns the examples of both, which have the same feature and reason."""
        first = min(self, other, key=lambda reason: reason.at)
        return first.model_copy(update={"count": self.count + other.count})


class RejectedFile(Settings):
    """A file with a line of JSON for each example that a batch left out; `at` is its unit and its first row."""

    at: tuple[int, int]
    path: str


class Report(Settings):
    """Some of the work, or all of it.

    Attributes:
        read: Rows that were read, by part of the source.
        shards: What was written.
        looks: For each feature that must be fitted, the look at it.
        seen: For each feature that has one, the extent of its raw values in all rows that were read.
        trained: The same in the train split.
        reasons: Why examples were left out.
        rejected: The files that list them.
        leaked: Examples left out because the source holds the same ones out.
        problems: What went wrong.
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
        """Returns the work of both."""
        return Report(
            read=dict(Counter(self.read) + Counter(other.read)),
            shards=[*self.shards, *other.shards],
            looks=_looks(self.looks, other.looks, features),
            seen=extents_merged(self.seen, other.seen),
            trained=extents_merged(self.trained, other.trained),
            reasons=reasons_merged([*self.reasons, *other.reasons]),
            rejected=[*self.rejected, *other.rejected],
            leaked=self.leaked + other.leaked,
            problems=[*self.problems, *other.problems],
        )

    @property
    def left_out(self) -> int:
        """How many examples do not fit."""
        return sum(reason.count for reason in self.reasons)

    def of(self, split: str) -> list[WrittenShard]:
        """Returns the shards of a split, in their order."""
        return sorted((shard for shard in self.shards if shard.split == split), key=lambda shard: shard.number)

    def to_json(self) -> bytes:
        """Returns the form in which it travels."""
        return self.model_dump_json().encode()


class Total:
    """Merges reports in JSON; Beam combines with it."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def __call__(self, reports: Iterable[bytes]) -> bytes:
        """Returns the report of all."""
        read = map(Report.model_validate_json, reports)
        return reduce(lambda left, right: left.merged(right, self.plan.config.features), read, Report()).to_json()


def extents_merged(left: Mapping[str, Extent], right: Mapping[str, Extent]) -> dict[str, Extent]:
    """Returns the extents of both, feature by feature."""
    both = left.keys() & right.keys()
    return {**left, **right, **{name: left[name].merged(right[name]) for name in both}}


def reasons_merged(reasons: Iterable[Reason]) -> list[Reason]:
    """Returns one reason for all of the same feature and sentence, ordered by these."""
    found: dict[tuple[str, str], Reason] = {}
    for reason in reasons:
        key = (reason.feature or "", reason.reason)
        found[key] = found[key].merged(reason) if key in found else reason
    return [found[key] for key in sorted(found)]


def _looks(
    left: Mapping[str, dict[str, Any]], right: Mapping[str, dict[str, Any]], features: Mapping[str, Feature]
) -> dict[str, dict[str, Any]]:
    merged = {**left, **right}
    for name in left.keys() & right.keys():
        kind = features[name].Look
        merged[name] = kind.model_validate(left[name]).merged(kind.model_validate(right[name])).model_dump(mode="json")
    return merged
