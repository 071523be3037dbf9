"""Columns of a feature on their way through its kind: read, fitted, converted, summarised."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from elboflow.artifacts.spec import FeatureSpec
from elboflow.settings import Settings, WorkError

if TYPE_CHECKING:
    import numpy as np

    from preprocessing.extent import Extent
    from preprocessing.records.schema import Ragged, Wire

MISSING = "a value is missing"
"""The reason for the rejection of a null."""


class ColumnError(WorkError):
    """The type of a whole column does not fit a feature. The message continues `PLACE: the feature 'x' …`."""


@dataclass(frozen=True)
class Unfit:
    """Rows of a batch that are rejected for the same reason.

    Attributes:
        reason: The rule that the values break, in a sentence.
        rows: Row indices in the batch, int64, ascending.
        found: The value of each row as text for messages; "" if a row has no value.
    """

    reason: str
    rows: "np.ndarray"
    found: Sequence[str] = ()

    def before(self, row: int) -> "Unfit":
        """Returns those of the rows that come before a row."""
        count = int((self.rows < row).sum())
        return Unfit(self.reason, self.rows[:count], self.found[:count])


@dataclass(frozen=True)
class Values(ABC):
    """A column of raw values after `Feature.read`.

    Attributes:
        unfit: The rejected rows. The values of the other attributes are arbitrary in these rows.
    """

    unfit: tuple[Unfit, ...]

    @abstractmethod
    def take(self, rows: "np.ndarray") -> Self:
        """Returns the values of some rows, int64 [rows], in their order. None of the rows may be unfit."""


class Summary(Settings):
    """Statistics of a set of values. A merge must be exact, associative and commutative: workers end in any order."""

    @abstractmethod
    def merged(self, other: Self) -> Self:
        """Returns the summary of both sets of values."""


class Fitted(ABC):
    """A fitted feature, ready to convert values. It is pickled and sent to the workers.

    Attributes:
        role: `class` if the stored integers are classes; `amount` if the stored float is a quantity of which the
            manifest has the mean by class; otherwise None. It is the `role` of the dataset's spec. Examples can be
            balanced by a class if `kept` returns `counts`, and weighted by an amount whose spec has the facts `mean`,
            `min` and `max`.
        train_only: Whether statistics are computed for the train split only, to save time.
        Statistics: The return type of `statistics`.
    """

    role: ClassVar[Literal["class", "amount"] | None] = None
    train_only: ClassVar[bool] = False
    Statistics: ClassVar[type[Summary]]

    @property
    def stored_bytes(self) -> int:
        """Approximate bytes of a large value in a record, or 0. The number of shards depends on it."""
        return 0

    @property
    @abstractmethod
    def wire(self) -> "Wire":
        """The encoding of a value in a record."""

    @abstractmethod
    def convert(self, values: Any) -> "Converted":
        """Converts the rows of `Feature.read` to stored values.

        Raises:
            ColumnError: The values have another type than the values on which the feature was fitted.
        """

    @abstractmethod
    def statistics(self, stored: Any) -> Any:
        """Returns the summary of stored values."""

    @abstractmethod
    def spec(self, statistics: Mapping[str, Any]) -> FeatureSpec:
        """Returns the feature's spec for the manifest.

        Args:
            statistics: The merged statistics by split.
        """

    @abstractmethod
    def kept(self, statistics: Any, extent: "Extent | None") -> dict[str, Any]:
        """Returns a split's summary for `dataset.json`, as JSON values: the baseline for later data.

        Args:
            statistics: The statistics of the split.
            extent: The extent of the raw values in the train split, if the kind has one; None for other splits.
        """


@dataclass(frozen=True)
class Converted:
    """A column of stored values.

    Attributes:
        stored: Values of fixed size [rows, …] with the wire's dtype, or ragged values.
        unfit: Rows that the conversion rejects, such as unknown classes.
    """

    stored: "np.ndarray | Ragged"
    unfit: tuple[Unfit, ...] = ()
