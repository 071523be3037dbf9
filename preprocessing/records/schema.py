"""The schema of a dataset's records, and ragged arrays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from elboflow.artifacts.spec import FeatureSpec
from preprocessing.records.example import BYTES_LIST, FLOAT_LIST, INT64_LIST

KEY = "key"
"""The name of the feature with the example's key."""

_LISTS = {"bytes": BYTES_LIST, "int64": INT64_LIST, "float32": FLOAT_LIST}
_DTYPES = {"bytes": "u1", "int64": "i8", "float32": "f4"}
_WIRES: dict[str, Literal["bytes", "int64", "float32"]] = {"uint8": "bytes", "int64": "int64", "float32": "float32"}
_FLOAT = 4  # bytes


@dataclass(frozen=True)
class Wire:
    """The encoding of a feature's value in a record.

    Attributes:
        type: The list type of tf.train.Feature: bytes, int64 or float32.
        length: The number of values of an example; None if it varies.
    """

    type: Literal["bytes", "int64", "float32"]
    length: int | None = 1

    @classmethod
    def of(cls, spec: FeatureSpec) -> "Wire":
        """Returns the wire of a feature from its spec."""
        return cls(_WIRES[spec.dtype], None if spec.ragged else spec.size)

    @property
    def list(self) -> int:
        """The field number of the list in tf.train.Feature."""
        return _LISTS[self.type]

    @property
    def dtype(self) -> np.dtype:
        """The dtype of the decoded values."""
        return np.dtype(_DTYPES[self.type])

    @property
    def size(self) -> int | None:
        """The bytes of the value in a record; None if they vary."""
        if self.length is None or self.type == "int64":
            return None
        return self.length * (_FLOAT if self.type == "float32" else 1)

    @property
    def is_single(self) -> bool:
        """Whether the value is one number, so that the decoded array has no second axis."""
        return self.length == 1 and self.type != "bytes"


KEY_WIRE = Wire("int64")


@dataclass(frozen=True)
class Schema:
    """The schema of a dataset's records: the wire of each feature by name, `key` included."""

    wires: Mapping[str, Wire]

    @classmethod
    def of(cls, features: Mapping[str, Wire]) -> "Schema":
        """Returns the schema of records with these features and a key."""
        return cls({**features, KEY: KEY_WIRE})

    @property
    def is_fixed(self) -> bool:
        """Whether only the varints of single integers can make records differ in length."""
        return all(wire.size is not None or wire == KEY_WIRE for wire in self.wires.values())

    @property
    def least_bytes(self) -> int:
        """A lower bound for the bytes of a record."""
        return sum(wire.size or 0 for wire in self.wires.values())


@dataclass(frozen=True)
class Ragged:
    """Rows of different lengths.

    Attributes:
        values: The concatenated values of all rows, [values].
        offsets: The start of each row, and the end of the last row, int64 [rows + 1]; the first offset is 0.
    """

    values: np.ndarray
    offsets: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        """The number of values of each row, int64 [rows]."""
        return np.diff(self.offsets)

    def take(self, rows: np.ndarray) -> "Ragged":
        """Returns rows by their indices, in the order of the indices."""
        lengths = self.lengths[rows]
        return Ragged(self.values[places(self.offsets[:-1][rows], lengths)], ends(lengths))

    def padded(self, longest: int | None = None) -> np.ndarray:
        """Returns the rows padded with zeros, [rows, longest]."""
        lengths = self.lengths
        if longest is None:
            longest = int(lengths.max(initial=0))
        matrix = np.zeros((len(lengths), longest), self.values.dtype)
        matrix[np.arange(longest) < lengths[:, None]] = self.values
        return matrix


def joined(parts: "list[Ragged]") -> Ragged:
    """Returns the concatenated rows."""
    lengths = np.concatenate([part.lengths for part in parts])
    return Ragged(np.concatenate([part.values for part in parts]), ends(lengths))


def ragged(rows: Sequence[bytes]) -> Ragged:
    """Returns bytes of rows, which may differ in length."""
    lengths = np.array([len(row) for row in rows], np.int64)
    return Ragged(np.frombuffer(b"".join(rows), np.uint8), ends(lengths))


def ends(lengths: np.ndarray) -> np.ndarray:
    """Returns the offsets of rows of these lengths, int64 [rows + 1]."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])


def places(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Returns the index of every value of rows with these starts and lengths, int64 [values]."""
    within = np.arange(lengths.sum(), dtype=np.int64) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return np.repeat(starts, lengths) + within
