"""Feature kinds: what a value of an example is, how raw values are checked, and what records hold of them.

One kind is one file here, or an entry point of an installed package in the group `elboflow.features`. Columns of raw
values are Arrow arrays; their way through a kind is

    read ─► (look ─► fitted) ─► convert ─► statistics ─► spec

`read` checks raw values. Where a kind needs something of all examples before it can store one of them, such as a
vocabulary, `look` summarises batches, and `fitted` makes it of the merged summaries. `convert` returns what records
hold, `statistics` summarises that by split, and `spec` is what `dataset.json` says and a model is built from.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from elboflow.artifacts.spec import LENGTH, FeatureSpec
from elboflow.settings import Settings, WorkError
from elboflow.settings.explain import written
from elboflow.settings.kinds import Kind

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from preprocessing.extent import Extent
    from preprocessing.records.schema import Ragged, Wire

Name = Annotated[
    str,
    written("[a-z][a-z0-9_]*", "be a lower-case letter, and then lower-case letters, digits and underscores"),
]

MISSING = "a value is missing"
"""The reason for which a null is no value of a feature."""


class ColumnError(WorkError):
    """A whole column cannot be values of a feature. The sentence goes on after `PLACE: the feature 'x'`."""


@dataclass(frozen=True)
class Unfit:
    """Rows of a batch that cannot be examples, all for one reason.

    Attributes:
        reason: What is allowed; the same sentence for all of them.
        rows: Their places in the batch, int64, ascending.
        found: For each, the value as a person reads it; empty where there is none.
    """

    reason: str
    rows: "np.ndarray"
    found: Sequence[str] = ()


@dataclass(frozen=True)
class Values(ABC):
    """A column of raw values as its kind has read it.

    Attributes:
        unfit: The rows that cannot be examples; what the other attributes hold of these rows is arbitrary.
    """

    unfit: tuple[Unfit, ...]

    @abstractmethod
    def take(self, rows: "np.ndarray") -> Self:
        """Returns these rows, int64 [rows], in their order; all of them are fit."""


class Summary(Settings):
    """What is known of some values. Merging is exact, associative, and free of order: workers finish in any order."""

    @abstractmethod
    def merged(self, other: Self) -> Self:
        """Returns the summary of the values of both."""


class Feature(Kind):
    """A kind of feature; an instance holds the settings of one feature.

    Attributes:
        identifies: Whether the key of an example, and hence its split, is made of this feature by default.
        accepts: What a source without types, such as a CSV file, reads the feature's values as.
        Look: The class of what `look` returns.
    """

    group: ClassVar[str] = "elboflow.features"
    folder: ClassVar[str | None] = __name__
    identifies: ClassVar[bool] = False
    accepts: ClassVar[Literal["numbers", "text", "any", "arrays"]] = "any"
    Look: ClassVar[type[Summary]]

    @property
    @abstractmethod
    def planned(self) -> FeatureSpec:
        """The spec as far as it is known before any data are read: what decides which models can take the feature."""

    @property
    def row_shape(self) -> tuple[int, ...] | None:
        """The shape of one raw value, `()` for a single one; None where examples differ."""
        return ()

    @property
    def may_need_fit(self) -> bool:
        """Whether `needs_fit` is true for some type of raw values."""
        return False

    @property
    def fits_on(self) -> Literal["train", "all"]:
        """The examples whose values `fitted` is made of."""
        return "train"

    def needs_fit(self, type: "pa.DataType") -> bool:
        """Whether raw values of this type can be converted only after a look at all of them."""
        return False

    @abstractmethod
    def read(self, column: "pa.Array", name: str) -> Values:
        """Checks a column of raw values.

        Args:
            column: A value for each row of a batch; a null is a missing value.
            name: The feature's name, for reasons and errors.

        Raises:
            ColumnError: The column is of a type, or a shape, of which no value fits.
        """

    @abstractmethod
    def identity(self, values: Any) -> "np.ndarray | Ragged":
        """Returns the bytes by which an example is the same as another, uint8 [rows, bytes] or ragged."""

    def look(self, values: Any) -> Any:
        """Returns the summary that `fitted` needs of fit values."""
        raise NotImplementedError

    @abstractmethod
    def fitted(self, summary: Any | None, name: str) -> "Fitted":
        """Returns the feature as it can be converted.

        Args:
            summary: The merged `look` over the examples that `fits_on` says; None where nothing needs to be fitted.
            name: The feature's name, for errors.

        Raises:
            ColumnError: The values cannot be stored at all, such as too many different ones.
        """

    def extent(self, values: Any) -> "tuple[np.ndarray, np.ndarray, bool] | None":
        """Returns the smallest and the largest raw value of each row, and whether all are whole; None if meaningless.

        Rows without finite values have NaN or infinities.
        """
        return None

    def advice(self, name: str, extent: "Extent") -> str | None:
        """Returns which settings would take values that lie there, as words for a person; None if there are none."""
        return None

    def doubt(self, name: str, extent: "Extent") -> str | None:
        """Returns what to write where the first examples hardly use what the settings allow; None if they do."""
        return None

    @classmethod
    def stored(cls, name: str, spec: FeatureSpec, raw: Any) -> "dict[str, np.ndarray]":
        """Returns raw values, as a client has them, as a dataset stores them, with `NAME.length` where they are ragged.

        Args:
            name: The feature's name.
            spec: What the dataset says of it.
            raw: `[examples, …]`, as an array or as lists.

        Raises:
            RequestError: They are not what the feature takes. The message never holds all of them.
        """
        from preprocessing.features import _raw_values

        return {name: _raw_values.numbers(name, spec, raw)}

    @classmethod
    def identity_of(
        cls, name: str, spec: FeatureSpec, raw: Any, stored: "Mapping[str, np.ndarray]"
    ) -> "np.ndarray | Ragged":
        """Returns the bytes that `identity` returns of the same raw values, so that their key is that of a dataset.

        These are the bytes of the stored values here. A kind whose `identity` has others overrides it.

        Args:
            name: The feature's name.
            spec: What the dataset says of it.
            raw: Values that `stored` has taken.
            stored: What it returned.
        """
        import numpy as np

        values = np.ascontiguousarray(stored[name])
        if not spec.ragged:
            return values.reshape(len(values), -1).view(np.uint8)
        from preprocessing.records.schema import ragged

        rows = zip(values, stored[name + LENGTH].tolist(), strict=True)
        return ragged([row[:length].tobytes() for row, length in rows])

    @classmethod
    def raw(cls, name: str, spec: FeatureSpec, expected: "Mapping[str, np.ndarray]") -> "np.ndarray":
        """Returns what a model expects of a feature (`elboflow.vae`) as a client knows it, `[examples, …]`.

        Args:
            name: The feature's name.
            spec: What the dataset says of it.
            expected: Values on the scale of the stored ones; levels are scaled to [0, 1].
        """
        return expected[name]

    @classmethod
    def expected(cls, name: str, spec: FeatureSpec, stored: "Mapping[str, np.ndarray]") -> "dict[str, np.ndarray]":
        """Returns stored values on the scale on which `raw` takes them, with the lengths of ragged ones."""
        return {key: stored[key] for key in (name, name + LENGTH) if key in stored}

    @classmethod
    def meaning(cls, spec: FeatureSpec) -> Mapping[str, Any]:
        """Returns the facts without which stored values say nothing, by name, such as the vocabulary of tokens.

        Values of two specs of one shape with as many levels mean the same where these facts are the same. A spec of an
        older version may lack one; None is a fact, too.
        """
        return {}

    @classmethod
    def repeated(cls, spec: FeatureSpec) -> Mapping[str, Any]:
        """Returns the settings that a spec repeats, by name, as JSON values; what is found in the data is none."""
        return {}

    @classmethod
    def lacking(cls, name: str, spec: FeatureSpec) -> str | None:
        """Returns what a model must know of a feature and the dataset of an older version does not say, or None.

        Args:
            name: The feature's name.
            spec: What the dataset says of it.

        Returns:
            Words that go on after `the dataset DIR was written by `.
        """
        return None

    @classmethod
    def remark(cls, name: str, spec: FeatureSpec, train: Mapping[str, Any]) -> str | None:
        """Returns what a person should know of a stored feature before a model is trained on it, or None.

        Args:
            name: The feature's name.
            spec: What the dataset says of it.
            train: What `Fitted.kept` returned for the train split.
        """
        return None


class Fitted(ABC):
    """A feature that can be converted. It travels to the workers, pickled.

    Attributes:
        role: `class` where the stored integers are classes, by which amounts are averaged; `amount` where the stored
            float is one. It is the `role` of the dataset's spec. Examples can be balanced by classes of which `kept`
            has the `counts`, and weighed by amounts whose spec has the facts `mean`, `min` and `max`.
        train_only: Whether only the train split has statistics, because they cost too much time for others.
        Statistics: The class of what `statistics` returns.
    """

    role: ClassVar[Literal["class", "amount"] | None] = None
    train_only: ClassVar[bool] = False
    Statistics: ClassVar[type[Summary]]

    @property
    def stored_bytes(self) -> int:
        """Bytes of an example's value in a record, about, if they are many. Decides how many shards there are."""
        return 0

    @property
    @abstractmethod
    def wire(self) -> "Wire":
        """How the value stands in a record."""

    @abstractmethod
    def convert(self, values: Any) -> "Converted":
        """Returns what records hold of the rows of `Feature.read`.

        Raises:
            ColumnError: The values are of another type than those that were looked at.
        """

    @abstractmethod
    def statistics(self, stored: Any) -> Any:
        """Returns the summary of stored values."""

    @abstractmethod
    def spec(self, statistics: Mapping[str, Any]) -> FeatureSpec:
        """Returns what the dataset says of the feature.

        Args:
            statistics: The merged statistics by split.
        """

    @abstractmethod
    def kept(self, statistics: Any, extent: "Extent | None") -> dict[str, Any]:
        """Returns what `dataset.json` keeps of a split's statistics, as JSON values: the baseline of later data.

        Args:
            statistics: Those of the split.
            extent: Of the train split, where its raw values lie, if the kind knows; None for other splits.
        """


@dataclass(frozen=True)
class Converted:
    """A column as records hold it.

    Attributes:
        stored: Fixed values [rows, …] of the wire's type, or ragged ones.
        unfit: Rows that turned out unfit only now, such as unknown classes.
    """

    stored: "np.ndarray | Ragged"
    unfit: tuple[Unfit, ...] = ()
