"""Feature kinds: the check of raw values, their fit, and their conversion to stored values.

A kind is one file here, or an entry point of an installed package in the group `elboflow.features`. Columns of raw
values are Arrow arrays. The steps of a kind are

    read ─► (look ─► fitted) ─► convert ─► statistics ─► spec

`read` checks raw values. Some kinds must be fitted on all examples before a value can be converted, for instance to a
vocabulary: `look` summarises a batch, and `fitted` takes the merged summaries. `convert` returns the stored values.
`statistics` summarises the stored values of a split. `spec` is the entry in `dataset.json` from which a model is built.
"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from elboflow.artifacts.spec import LENGTH, FeatureSpec
from elboflow.settings.explain import written
from elboflow.settings.kinds import Kind
from preprocessing.features._columns import MISSING, ColumnError, Converted, Fitted, Summary, Unfit, Values

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from preprocessing.extent import Extent
    from preprocessing.records.schema import Ragged

__all__ = ["MISSING", "ColumnError", "Converted", "Feature", "Fitted", "Name", "Summary", "Unfit", "Values"]

Name = Annotated[
    str,
    written("[a-z][a-z0-9_]*", "be a lower-case letter, and then lower-case letters, digits and underscores"),
]


class Feature(Kind):
    """A kind of feature. An instance contains the settings of one feature.

    Attributes:
        identifies: Whether the feature is hashed into an example's key by default, and so decides its split.
        accepts: The type as which an untyped source, such as a CSV file, parses the feature's values.
        Look: The return type of `look`.
    """

    group: ClassVar[str] = "elboflow.features"
    folder: ClassVar[str | None] = __name__
    identifies: ClassVar[bool] = False
    accepts: ClassVar[Literal["numbers", "text", "any", "arrays"]] = "any"
    Look: ClassVar[type[Summary]]

    @property
    @abstractmethod
    def planned(self) -> FeatureSpec:
        """The spec as far as the settings determine it: enough to decide which models can take the feature."""

    @property
    def row_shape(self) -> tuple[int, ...] | None:
        """The shape of one raw value, `()` for a scalar; None if examples have different shapes."""
        return ()

    @property
    def may_need_fit(self) -> bool:
        """Whether `needs_fit` is true for at least one type of raw values."""
        return False

    @property
    def fits_on(self) -> Literal["train", "all"]:
        """The examples on which the feature is fitted."""
        return "train"

    def needs_fit(self, type: "pa.DataType") -> bool:
        """Whether the feature must be fitted before it can convert raw values of this type."""
        return False

    @abstractmethod
    def read(self, column: "pa.Array", name: str) -> Values:
        """Checks a column of raw values.

        Args:
            column: The value of each row of a batch; a null is a missing value.
            name: The feature's name, for reasons and errors.

        Raises:
            ColumnError: The type or the shape of the column does not fit.
        """

    @abstractmethod
    def identity(self, values: Any) -> "np.ndarray | Ragged":
        """Returns the bytes that are hashed into the key of each example, uint8 [rows, bytes] or ragged."""

    def look(self, values: Any) -> Any:
        """Returns the summary of accepted values that `fitted` needs. A feature with `may_need_fit` defines it."""
        raise NotImplementedError  # not abstract, because other features are never asked

    @abstractmethod
    def fitted(self, summary: Any | None, name: str) -> "Fitted":
        """Returns the fitted feature.

        Args:
            summary: The merged results of `look` over the examples of `fits_on`; None if no fit is necessary.
            name: The feature's name, for errors.

        Raises:
            ColumnError: The values cannot be stored, for instance because there are too many distinct ones.
        """

    def extent(self, values: Any) -> "tuple[np.ndarray, np.ndarray, bool] | None":
        """Returns the minimum and the maximum raw value of each row, and whether all values are whole numbers.

        Rows with non-finite values have NaN or infinities. None if the kind has no extent.
        """
        return None

    def advice(self, name: str, extent: "Extent") -> str | None:
        """Returns advice for messages: the settings that accept values of this extent; None if there are none."""
        return None

    def doubt(self, name: str, extent: "Extent") -> str | None:
        """Returns advice if values of this extent use only a small part of the allowed range; otherwise None."""
        return None

    @classmethod
    def stored(cls, name: str, spec: FeatureSpec, raw: Any) -> "dict[str, np.ndarray]":
        """Converts raw values of a client to stored values, with `NAME.length` for ragged features.

        Args:
            name: The feature's name.
            spec: The feature's spec from the dataset.
            raw: `[examples, …]`, as an array or as lists.

        Raises:
            RequestError: The values do not fit the feature. The message never contains all values.
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
        """Converts a model's expected or sampled values (`elboflow.vae`) to raw values for a client, `[examples, …]`.

        Args:
            name: The feature's name.
            spec: The feature's spec from the dataset.
            expected: Values on the scale of the stored values; an image's levels are scaled to [0, 1].
        """
        return expected[name]

    @classmethod
    def expected(cls, name: str, spec: FeatureSpec, stored: "Mapping[str, np.ndarray]") -> "dict[str, np.ndarray]":
        """Converts stored values to the scale of `raw`'s argument, with `NAME.length` for ragged features."""
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
        """Returns a remark about a stored feature that its user should read before training, or None.

        Args:
            name: The feature's name.
            spec: The feature's spec from the dataset.
            train: The result of `Fitted.kept` for the train split.
        """
        return None
