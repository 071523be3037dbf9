"""What an artifact says of a feature: plain data, in a dataset's manifest as in a model's."""

import math
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt

from elboflow.settings import PossiblyEmpty, Settings

Size = Annotated[PositiveInt, Field(le=2**31)]
Shape = tuple[int, ...]

_BYTES = {"uint8": 1, "int64": 8, "float32": 4}

LENGTH = ".length"
"""Ends the name under which a batch holds the lengths of a ragged feature: `text.length`."""


class FeatureSpec(Settings):
    """The values of a feature, as a dataset stores them and a model is given them.

    Attributes:
        kind: The kind of feature.
        dtype: The type of its values.
        shape: Of an example, `[]` for a single value; of a ragged feature the longest example's.
        levels: Of discrete values, which run from 0 to `levels - 1`: how many there are; None for others.
        ragged: Whether examples have lengths of their own along the first axis.
        role: What a value says of its example: `class` where whole numbers tell groups of examples apart, `amount`
            where a number can weigh them; None for any other value.
        facts: What only this kind of feature has, such as the raw range of an image.
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
        """Values of an example; of the longest, where they are ragged."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """Bytes of an example in a batch."""
        return self.size * _BYTES[self.dtype] + (4 if self.ragged else 0)
