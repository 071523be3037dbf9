"""The spec of a feature, as the manifests of datasets and models contain it."""

import math
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt

from elboflow.settings import PossiblyEmpty, Settings

Size = Annotated[PositiveInt, Field(le=2**31)]
Shape = tuple[int, ...]

_BYTES = {"uint8": 1, "int64": 8, "float32": 4}

LENGTH = ".length"
"""The suffix of the array with the lengths of a ragged feature: `text.length`."""


class FeatureSpec(Settings):
    """The spec of a feature's stored values, which a model reads.

    Attributes:
        kind: The kind of feature.
        dtype: The dtype of the values.
        shape: The shape of an example, `[]` for a scalar; for a ragged feature the shape of the longest example.
        levels: The number of discrete values, 0 to `levels - 1`; None for continuous values.
        ragged: Whether examples differ in length along the first axis.
        role: `class` if whole numbers divide examples into groups, `amount` if a number can weight examples, or None.
        facts: Data that only this kind of feature has, such as the raw range of an image.
    """

    kind: str
    dtype: Literal["uint8", "int64", "float32"]
    shape: tuple[Size, ...] = ()
    levels: Annotated[int, Field(ge=1, le=2**31)] | None = None
    ragged: bool = False
    role: Literal["class", "amount"] | None = Field(default=None, exclude_if=lambda value: value is None)
    facts: dict[PossiblyEmpty, Any] = Field(default_factory=dict)

    @property
    def size(self) -> int:
        """The number of values of an example; for a ragged feature of the longest example."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """The bytes of an example in a padded batch."""
        return self.size * _BYTES[self.dtype] + (4 if self.ragged else 0)
