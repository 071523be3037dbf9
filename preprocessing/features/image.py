"""An image, or any array [height, width, channels] of numbers in a range, stored as one uint8 code per value."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import BeforeValidator, Field, field_validator

from elboflow.artifacts.spec import FeatureSpec
from preprocessing.extent import Extent, number
from preprocessing.features import ColumnError, Converted, Feature, Fitted, Summary, Unfit, Values, _image_values
from preprocessing.features._ranges import LARGEST, around, yaml_of
from preprocessing.records.schema import Wire
from preprocessing.sums import byte_counts

if TYPE_CHECKING:
    import pyarrow as pa

Size = Annotated[int, Field(ge=1)]


def _with_channels(shape: Any) -> Any:
    return [*shape, 1] if isinstance(shape, list | tuple) and len(shape) == 2 else shape


Shape = tuple[Size, Size, Size]
WrittenShape = Annotated[Shape, BeforeValidator(_with_channels, json_schema_input_type=Shape | tuple[Size, Size])]

LEAST_USE = 0.1
"""The smallest fraction of `range` that a split should use. With less, its images have almost one colour."""

# Ranges with whole-numbered ends whose values are usually fractions.
_NORMALISED = ((0, 1), (-1, 1))


def _levels(validated: dict[str, Any]) -> int:
    low, high = validated["range"]
    whole = float(low).is_integer() and float(high).is_integer() and (low, high) not in _NORMALISED
    return int(high - low) + 1 if whole and 1 < high - low <= 255 and not validated["quantise"] else 256


@dataclass(frozen=True)
class Images(Values):
    """Images of a batch.

    Attributes:
        codes: uint8 [rows, height · width · channels].
        low: The smallest raw value of each image, [rows]; NaN if any value of the image is NaN.
        high: The largest raw value of each image, [rows]; NaN likewise.
        whole: Whether all raw values are whole numbers.
    """

    codes: np.ndarray
    low: np.ndarray
    high: np.ndarray
    whole: bool

    def take(self, rows: np.ndarray) -> "Images":
        return Images((), self.codes[rows], self.low[rows], self.high[rows], self.whole)


class Codes(Summary):
    """The count of each code, [levels]."""

    counts: list[int]

    def merged(self, other: "Codes") -> "Codes":
        return Codes(counts=[left + right for left, right in zip(self.counts, other.counts, strict=True)])


class ImageFeature(Feature):
    """An image (or any array [height, width, channels]), stored as one uint8 code per value.

    A raw value x in `range` = [low, high] becomes the code round((x - low) / (high - low) · (levels - 1)).
    """

    main: ClassVar = "shape"
    identifies: ClassVar = True
    accepts: ClassVar = "arrays"

    kind: Literal["image"] = "image"
    shape: WrittenShape = Field(description="height, width and channels; [32, 32] is [32, 32, 1]")
    range: tuple[int | float, int | float] = Field(
        description="[low, high], the raw values of the lowest and of the highest level; what lies outside is rejected"
    )
    quantise: bool = Field(
        default=False,
        exclude_if=lambda value: not value,  # keeps older addresses valid
        description="where each whole number has a level of its own, round values between two of them to the nearest; "
        "by default they are rejected",
    )
    levels: int = Field(
        default_factory=_levels,
        ge=2,
        le=256,
        description="codes of a value; by default high - low + 1 for a range between whole numbers that has at most "
        "256 of them, and 256 for any other one, for [0, 1], for [-1, 1] and with `quantise`",
    )

    @field_validator("range")
    @classmethod
    def _is_increasing(cls, value: tuple[float, float]) -> tuple[float, float]:
        low, high = value
        if not low < high:
            raise ValueError(f"range is [low, high] with low < high, not [{low}, {high}]")
        if max(abs(low), abs(high)) > LARGEST:
            raise ValueError(f"range is within [-{LARGEST:g}, {LARGEST:g}]")
        return value

    @property
    def is_exact(self) -> bool:
        """Whether each code represents one whole number; then a raw value between two codes is rejected."""
        return not self.quantise and self.levels == self.range[1] - self.range[0] + 1

    @property
    def size(self) -> int:
        """The number of values of one image, which is also its size in bytes."""
        return math.prod(self.shape)

    @property
    def planned(self) -> FeatureSpec:
        facts = {"range": list(self.range)}
        return FeatureSpec(kind="image", dtype="uint8", shape=self.shape, levels=self.levels, facts=facts)

    @classmethod
    def stored(cls, name: str, spec: FeatureSpec, raw: Any) -> dict[str, np.ndarray]:
        return {name: _image_values.codes(raw, spec)}

    @classmethod
    def raw(cls, name: str, spec: FeatureSpec, expected: Mapping[str, np.ndarray]) -> np.ndarray:
        return _image_values.raw(expected[name], spec)

    @classmethod
    def expected(cls, name: str, spec: FeatureSpec, stored: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name: _image_values.intensities(stored[name], spec)}

    @classmethod
    def meaning(cls, spec: FeatureSpec) -> dict[str, Any]:
        return {key: spec.facts[key] for key in ("range",) if key in spec.facts}

    @classmethod
    def repeated(cls, spec: FeatureSpec) -> dict[str, Any]:
        return {"shape": list(spec.shape), "levels": spec.levels, **cls.meaning(spec)}

    @property
    def row_shape(self) -> tuple[int, ...]:
        return self.shape

    def read(self, column: "pa.Array", name: str) -> Images:
        from preprocessing import columns

        found = columns.require(columns.numbers(column, self.shape), column, "an image consists of numbers")
        values = found.values
        shapes = [self.shape, self.shape[:2], (self.size,)] if self.shape[2] == 1 else [self.shape, (self.size,)]
        if values.shape[1:] not in shapes:
            raise ColumnError(
                f"has the shape {list(values.shape[1:])}; data.features.{name}.shape says {list(self.shape)}"
            )
        values = values.reshape(len(values), self.size)
        low, high = values.min(axis=1), values.max(axis=1)
        whole = values.dtype.kind != "f" or bool((values == np.rint(values)).all())
        unfit = (*found.unfit, *self._unfit(values, low, high, whole, name))
        if unfit:
            values = np.where(columns.unfit_rows(unfit, len(values))[:, None], values.dtype.type(0), values)
        return Images(unfit, self._codes(values, bool(unfit)), low, high, whole)

    def identity(self, values: Images) -> np.ndarray:
        return values.codes

    def fitted(self, summary: None, name: str) -> "FittedImage":
        return FittedImage(self)

    def extent(self, values: Images) -> tuple[np.ndarray, np.ndarray, bool]:
        return values.low, values.high, values.whole

    def use_of(self, extent: Extent) -> float:
        """Returns the fraction of the range that values of this extent use."""
        low, high = self.range
        return (extent.high - extent.low) / (high - low)

    def advice(self, name: str, extent: Extent) -> str:
        low, high = self.range
        if extent.low == extent.high:
            return "images of one value leave nothing to learn"
        if max(abs(extent.low), abs(extent.high)) > LARGEST / 2:  # half, because `around` rounds outwards
            return "such numbers are too large for a range; scale them first"
        wanted: dict[str, Any] = {}
        if extent.low < low or extent.high > high or self.use_of(extent) < LEAST_USE:
            wanted["range"] = around(extent)
        fitted = ImageFeature(shape=self.shape, **wanted) if wanted else self
        if fitted.is_exact and not extent.whole:
            wanted["quantise"] = True
        return f"write {', '.join(yaml_of(key, value) for key, value in wanted.items())} at data.features.{name}"

    def doubt(self, name: str, extent: Extent) -> str | None:
        return self.advice(name, extent) if self.use_of(extent) < LEAST_USE else None

    @classmethod
    def remark(cls, name: str, spec: FeatureSpec, train: Mapping[str, Any]) -> str | None:
        """Returns a remark if the train split uses almost nothing of the range; otherwise None.

        Such a range is usually a mistake: for a model, values of 0.0 and 1.0 in the range [0, 255] are almost black.
        """
        low, high = spec.facts["range"]
        levels = spec.levels or 256
        step = (high - low) / (levels - 1)
        ends = train.get("raw") or (low + train["min"] * step, low + train["max"] * step)
        extent = Extent(low=ends[0], high=ends[1], whole=all(float(end).is_integer() for end in ends))
        feature = cls.model_validate({"shape": spec.shape, "range": [low, high], "levels": levels})
        if (use := feature.use_of(extent)) >= LEAST_USE:
            return None
        return (
            f"the train split uses {use:.1%} of data.features.{name}.range, [{number(low)}, {number(high)}]: "
            f"{extent}; {feature.advice(name, extent)}"
        )

    def _unfit(
        self, values: np.ndarray, lowest: np.ndarray, highest: np.ndarray, whole: bool, name: str
    ) -> tuple[Unfit, ...]:
        from preprocessing.columns import unfit

        low, high = self.range
        if values.dtype == np.uint8 and low <= 0 and high >= 255 and not (self.is_exact and not whole):
            return ()
        infinite = ~(np.isfinite(lowest) & np.isfinite(highest))
        outside = ((lowest < low) | (highest > high)) & ~infinite
        found: tuple[Unfit, ...] = ()
        if infinite.any():
            found += unfit(~np.isfinite(values), values, "a finite number is expected")
        if outside.any():
            beyond = ((values < low) | (values > high)) & outside[:, None]
            found += unfit(beyond, values, f"data.features.{name}.range allows {low} to {high}")
        if self.is_exact and not whole:
            between = (values != np.rint(values)) & ~(infinite | outside)[:, None]
            expected = f"with range [{low}, {high}] and {self.levels} levels whole numbers are expected"
            found += unfit(between, values, expected)
        return found

    def _codes(self, values: np.ndarray, has_unfit: bool) -> np.ndarray:
        low, high = self.range
        if values.dtype == np.uint8 and (low, high, self.levels) == (0, 255, 256):
            return values
        with np.errstate(
            under="ignore", invalid="ignore" if has_unfit else "warn", over="ignore" if has_unfit else "warn"
        ):
            if self.is_exact:
                if values.dtype == np.uint64:  # no larger integer dtype exists for negative differences
                    values = values - np.uint64(low) if low >= 0 else values.astype(np.int64) - int(low)
                    return values.astype(np.uint8)
                return (values - np.asarray(low, np.result_type(values.dtype, np.int16))).astype(np.uint8)
            # One expression: NumPy then computes in place.
            return np.rint((values.astype(np.float64) - low) / (high - low) * (self.levels - 1)).astype(np.uint8)


@dataclass(frozen=True)
class FittedImage(Fitted):
    """A fitted image feature; it does not depend on the data."""

    feature: ImageFeature
    train_only: ClassVar = True
    Statistics: ClassVar = Codes

    @property
    def stored_bytes(self) -> int:
        return self.feature.size

    @property
    def wire(self) -> Wire:
        return Wire("bytes", self.feature.size)

    def convert(self, values: Images) -> Converted:
        return Converted(values.codes)

    def statistics(self, stored: np.ndarray) -> Codes:
        return Codes(counts=byte_counts(stored)[: self.feature.levels].tolist())

    def spec(self, statistics: Mapping[str, Codes]) -> FeatureSpec:
        feature = self.feature
        facts = {"range": list(feature.range)}
        return FeatureSpec(kind="image", dtype="uint8", shape=feature.shape, levels=feature.levels, facts=facts)

    def kept(self, statistics: Codes, extent: Extent | None) -> dict[str, Any]:
        counts = np.array(statistics.counts)
        codes, total = np.arange(len(counts)), int(counts.sum())
        found = np.flatnonzero(counts)
        mean = int((counts * codes).sum()) / total
        variance = int((counts * codes**2).sum()) / total - mean**2
        kept = {
            "mean": mean,
            "std": math.sqrt(max(0.0, variance)),
            "min": int(found[0]),
            "max": int(found[-1]),
            "counts": statistics.counts,
        }
        return kept if extent is None else {**kept, "raw": [extent.low, extent.high]}
