"""A number, stored as one float32: a measurement, or the weight of an example in training."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from elboflow.artifacts.spec import FeatureSpec
from preprocessing.extent import Extent
from preprocessing.features import Converted, Feature, Fitted, Summary, Values
from preprocessing.records.schema import Wire
from preprocessing.sums import exact_sum, exact_sum_of_squares, mean_of

if TYPE_CHECKING:
    import pyarrow as pa

_EXPECTED = "a number is one per example"
_BUCKET_BITS = 12  # of a float32: sign, exponent, and three bits of the fraction


@dataclass(frozen=True)
class Amounts(Values):
    """Numbers of a batch, float32 [rows]."""

    numbers: np.ndarray

    def take(self, rows: np.ndarray) -> "Amounts":
        return Amounts((), self.numbers[rows])


class Moments(Summary):
    """Exact sums over numbers, as multiples of 2^-149 and of 2^-298 (`preprocessing.sums`), and a histogram.

    Attributes:
        count: The number of values.
        min: The smallest value.
        max: The largest value.
        sum: The sum of the values.
        squares: The sum of the squares.
        buckets: Counts by the first twelve bits of the float32: eight buckets from each power of two to the next.
    """

    count: int
    min: float
    max: float
    sum: int
    squares: int
    buckets: dict[int, int]

    def merged(self, other: "Moments") -> "Moments":
        return Moments(
            count=self.count + other.count,
            min=min(self.min, other.min),
            max=max(self.max, other.max),
            sum=self.sum + other.sum,
            squares=self.squares + other.squares,
            buckets=dict(Counter(self.buckets) + Counter(other.buckets)),
        )

    @property
    def mean(self) -> float:
        """The mean, correctly rounded."""
        return mean_of(self.sum, self.count)

    @property
    def std(self) -> float:
        """The population standard deviation; exact except for the rounding of the square root."""
        scale = Fraction(1, 2**298)
        variance = Fraction(self.squares, self.count) * scale - Fraction(self.sum, self.count) ** 2 * scale
        return math.sqrt(variance)


class NumberFeature(Feature):
    """A finite number, stored as float32, for instance the weight of an example in training."""

    accepts: ClassVar = "numbers"

    kind: Literal["number"] = "number"

    @property
    def planned(self) -> FeatureSpec:
        return FeatureSpec(kind="number", dtype="float32", role="amount")

    @classmethod
    def lacking(cls, name: str, spec: FeatureSpec) -> str | None:
        return None if "std" in spec.facts else f"0.1.0, which did not keep the standard deviation of {name!r}"

    def read(self, column: "pa.Array", name: str) -> Amounts:
        from preprocessing import columns

        found = columns.one_per_row(column, _EXPECTED)
        values = found.values
        with np.errstate(over="ignore"):
            numbers = values.astype(np.float32)
        infinite = ~np.isfinite(numbers) & ~columns.unfit_rows(found.unfit, len(values))
        refused = columns.unfit(infinite, values, "a number must be finite, in float32, too")
        return Amounts((*found.unfit, *refused), numbers)

    def identity(self, values: Amounts) -> np.ndarray:
        return values.numbers.astype("<f4").view(np.uint8).reshape(-1, 4)

    def fitted(self, summary: None, name: str) -> "FittedNumber":
        return FittedNumber()


@dataclass(frozen=True)
class FittedNumber(Fitted):
    """A fitted number feature; it does not depend on the data."""

    role: ClassVar = "amount"
    Statistics: ClassVar = Moments

    @property
    def wire(self) -> Wire:
        return Wire("float32")

    def convert(self, values: Amounts) -> Converted:
        return Converted(values.numbers)

    def statistics(self, stored: np.ndarray) -> Moments:
        stored = stored + np.float32(0)  # turns -0 into 0: they are equal, so `min` would depend on the order
        keys, counts = np.unique(stored.view(np.uint32) >> (32 - _BUCKET_BITS), return_counts=True)
        return Moments(
            count=len(stored),
            min=float(stored.min()),
            max=float(stored.max()),
            sum=exact_sum(stored),
            squares=exact_sum_of_squares(stored),
            buckets=dict(zip(keys.tolist(), counts.tolist(), strict=True)),
        )

    def spec(self, statistics: Mapping[str, Moments]) -> FeatureSpec:
        return FeatureSpec(kind="number", dtype="float32", facts=_facts(statistics["train"]))

    def kept(self, statistics: Moments, extent: Extent | None) -> dict[str, Any]:
        counts: Counter[float] = Counter()
        for key, count in statistics.buckets.items():
            counts[float(_edge(key)) + 0.0] += count  # + 0.0 merges the edges 0 and -0
        return {
            **_facts(statistics),
            "count": statistics.count,
            "histogram": [[edge, counts[edge]] for edge in sorted(counts)],
        }


def _facts(found: Moments) -> dict[str, float]:
    return {"mean": found.mean, "std": found.std, "min": found.min, "max": found.max}


def _edge(bucket: int) -> np.float32:
    """Returns the edge of a bucket that is nearest to zero."""
    return np.array([bucket << (32 - _BUCKET_BITS)], np.uint32).view(np.float32)[0]
