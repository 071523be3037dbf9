"""A category: a class, given as an integer or a name, stored as one int64."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from elboflow.artifacts.spec import FeatureSpec
from elboflow.settings import PossiblyEmpty, RequestError
from elboflow.settings.text import counted
from preprocessing.extent import Extent
from preprocessing.features import (
    ColumnError,
    Converted,
    Feature,
    Fitted,
    Summary,
    Unfit,
    Values,
    _class_codes,
    _raw_values,
)
from preprocessing.records.schema import Ragged, Wire, ragged

if TYPE_CHECKING:
    import pyarrow as pa

MOST_NAMES = 100_000
"""With more names, labels are rather captions or identities; and the manifest lists all names."""

OTHER = "(other)"
"""The name of the class for values that do not occur in the train split."""

_MOST_LEVELS = 2**31  # of a FeatureSpec
_EXPECTED = "a category is one whole number, or one name, per example"


@dataclass(frozen=True)
class Classes(Values):
    """Classes of a batch: integers, int64 [rows], or names."""

    numbers: np.ndarray | None
    names: "pa.Array | None"

    @property
    def column(self) -> Any:
        """`numbers` or `names`, whichever is given."""
        return self.numbers if self.numbers is not None else self.names

    def take(self, rows: np.ndarray) -> "Classes":
        if self.numbers is not None:
            return Classes((), self.numbers[rows], None)
        import pyarrow as pa

        return Classes((), None, self.column.take(pa.array(rows)))


class Occurring(Summary):
    """The distinct classes: numbers, or names."""

    numbers: list[int] = Field(default=[])
    names: list[PossiblyEmpty] = Field(default=[])

    def merged(self, other: "Occurring") -> "Occurring":
        numbers, names = {*self.numbers, *other.numbers}, {*self.names, *other.names}
        return Occurring(numbers=sorted(numbers), names=sorted(names)[: MOST_NAMES + 1])


class ByClass(Summary):
    """The number of examples of each class."""

    counts: dict[int, int]

    def merged(self, other: "ByClass") -> "ByClass":
        return ByClass(counts=dict(Counter(self.counts) + Counter(other.counts)))


class CategoryFeature(Feature):
    """A class: an integer, or the name of the class as text. A name is stored as its index among the sorted names."""

    main: ClassVar = "classes"
    Look: ClassVar = Occurring

    kind: Literal["category"] = "category"
    classes: Annotated[int, Field(ge=1)] | None = Field(
        None,
        description="the number of classes: integers lie in 0 … classes - 1, or there are at most so many names; null: "
        "as the data have",
    )
    unknown: Literal["keep", "other", "reject"] = Field(
        default="keep",
        exclude_if=lambda value: value == "keep",
        description="a class that does not occur in the train split: keep: is stored as any other; other: is stored as "
        "one additional class, the last one; reject: its examples are rejected",
    )

    @property
    def planned(self) -> FeatureSpec:
        return FeatureSpec(kind="category", dtype="int64", levels=self.classes or 1, role="class")

    @classmethod
    def stored(cls, name: str, spec: FeatureSpec, raw: Any) -> dict[str, np.ndarray]:
        code_of = _class_codes.code_of(spec)
        numbers = []
        for value in _raw_values.each(name, raw, "one class"):
            code = code_of(value)
            if code is None:
                raise RequestError(f"{name!r} is {_raw_values.told(value)}; it takes {_class_codes.allowed(spec)}")
            numbers.append(code)
        return {name: np.array(numbers, np.int64)}

    @classmethod
    def identity_of(
        cls, name: str, spec: FeatureSpec, raw: Any, stored: Mapping[str, np.ndarray]
    ) -> "np.ndarray | Ragged":
        classes = _raw_values.each(name, raw, "one class")
        if spec.facts.get("names"):
            return ragged([each.encode() for each in classes])
        return np.array([_raw_values.whole(each) for each in classes], "<i8").view(np.uint8).reshape(-1, 8)

    @classmethod
    def raw(cls, name: str, spec: FeatureSpec, expected: Mapping[str, np.ndarray]) -> np.ndarray:
        names = spec.facts.get("names")
        return np.array(names, dtype=object)[expected[name]] if names else expected[name]

    @classmethod
    def meaning(cls, spec: FeatureSpec) -> dict[str, Any]:
        return {key: spec.facts.get(key) for key in ("names", "other")}

    @property
    def fits_on(self) -> Literal["train", "all"]:
        return "all" if self.unknown == "keep" else "train"

    @property
    def may_need_fit(self) -> bool:
        return True

    def needs_fit(self, type: "pa.DataType") -> bool:
        from preprocessing.columns import is_text

        return is_text(type) or self.unknown != "keep"

    def read(self, column: "pa.Array", name: str) -> Classes:
        from preprocessing import columns

        if columns.is_text(column.type):
            texts, unfit = columns.texts(column)
            return Classes(unfit, None, texts)
        found = columns.one_per_row(column, _EXPECTED)
        values = found.values
        allowed = f"0 to {self.classes - 1}" if self.classes else "0 or more"
        with np.errstate(invalid="ignore"):
            floats = values.dtype.kind == "f"
            wrong = (values != np.rint(values)) | ~np.isfinite(values) if floats else np.zeros(len(values), bool)
            wrong |= (values < 0) | (values >= (self.classes or 2**63))
            wrong &= ~columns.unfit_rows(found.unfit, len(values))
            refused = columns.unfit(wrong, values, f"a category is a whole number, {allowed}")
            return Classes((*found.unfit, *refused), values.astype(np.int64), None)

    def identity(self, values: Classes) -> "np.ndarray | Ragged":
        if values.numbers is not None:
            return values.numbers.astype("<i8").view(np.uint8).reshape(-1, 8)
        return ragged([name.encode() for name in values.column.to_pylist()])

    def look(self, values: Classes) -> Occurring:
        if values.numbers is not None:
            return Occurring(numbers=np.unique(values.numbers).tolist())
        return Occurring(names=sorted(values.column.unique().to_pylist())[: MOST_NAMES + 1])

    def fitted(self, summary: Occurring | None, name: str) -> "FittedCategory":
        if summary is None:
            return FittedCategory(self, None, None)
        names = tuple(sorted(summary.names))
        if names and summary.numbers:
            raise ColumnError("is numbers in one part of the source, and text in another")
        if len(names) > MOST_NAMES:
            raise ColumnError(
                f"holds more than {MOST_NAMES:,} different texts; a category names classes, not single examples"
            )
        if names and self.classes and len(names) > self.classes:
            named = counted(len(names), "class", "classes")
            raise ColumnError(f"names {named}; data.features.{name}.classes allows {self.classes:,}")
        if names:
            return FittedCategory(self, names, None)
        return FittedCategory(self, None, tuple(summary.numbers) if self.unknown != "keep" else None)


@dataclass(frozen=True)
class FittedCategory(Fitted):
    """A fitted category.

    Attributes:
        feature: The settings.
        names: The names of the classes 0, 1, …, if the source has names; otherwise None.
        numbers: The classes of the train split, if the source has numbers and `unknown` is not `keep`; otherwise None.
    """

    feature: CategoryFeature
    names: tuple[str, ...] | None
    numbers: tuple[int, ...] | None
    role: ClassVar = "class"
    Statistics: ClassVar = ByClass

    @property
    def wire(self) -> Wire:
        return Wire("int64")

    @property
    def other(self) -> int | None:
        """The class for values that do not occur in the train split, if `unknown` is `other`; otherwise None."""
        if self.feature.unknown != "other":
            return None
        if self.names is not None:
            return len(self.names)
        return self.feature.classes or max(self.numbers or (-1,)) + 1

    def convert(self, values: Classes) -> Converted:
        if (values.names is None) == (self.names is not None) and len(values.column):
            found, elsewhere = ("numbers", "text") if self.names is not None else ("text", "numbers")
            raise ColumnError(f"is {found}, and {elsewhere} elsewhere")
        if self.names is not None:
            numbers = _indices(values.column, self.names)
            known = numbers >= 0
        else:
            numbers = values.column
            known = np.isin(numbers, self.numbers) if self.numbers is not None else np.ones(len(numbers), bool)
        if known.all():
            return Converted(numbers)
        if self.other is not None:
            return Converted(np.where(known, numbers, self.other))
        rows = np.flatnonzero(~known)
        if self.feature.unknown == "keep":
            reason = "this class was not there when the names were read"
        else:
            reason = "no example of the train split has this class"
        return Converted(numbers, (Unfit(reason, rows, [str(values.column[row]) for row in rows.tolist()]),))

    def statistics(self, stored: np.ndarray) -> ByClass:
        classes, counts = np.unique(stored, return_counts=True)
        return ByClass(counts=dict(zip(classes.tolist(), counts.tolist(), strict=True)))

    def spec(self, statistics: Mapping[str, ByClass]) -> FeatureSpec:
        occurring = sorted({value for found in statistics.values() for value in found.counts})
        highest = max([*occurring, *([] if self.other is None else [self.other]), 0])
        levels = highest + 1 if self.feature.classes is None else max(highest + 1, self.feature.classes)
        if self.names is not None:
            levels = len(self.names) + (self.other is not None)
        facts: dict[str, Any] = {"classes": occurring}
        if self.names is not None:
            facts["names"] = [*self.names, *([] if self.other is None else [OTHER])]
        if self.other is not None:
            facts["other"] = self.other
        known = levels if levels <= _MOST_LEVELS else None
        return FeatureSpec(kind="category", dtype="int64", levels=known, facts=facts)

    def kept(self, statistics: ByClass, extent: Extent | None) -> dict[str, Any]:
        return {"counts": {str(value): count for value, count in sorted(statistics.counts.items())}}


def _indices(column: "pa.Array", names: tuple[str, ...]) -> np.ndarray:
    """Returns the index of each row's name in `names`, int64 [rows]; -1 for other names."""
    import pyarrow as pa
    import pyarrow.compute as pc

    places = pc.index_in(column, value_set=pa.array(names, pa.string()))
    return places.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
