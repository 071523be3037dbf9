"""A batch of columns ⇄ tf.train.Example records in the TFRecord framing, by array operations alone.

A record is, byte for byte, what TensorFlow's TFRecordWriter makes of a serialised tf.train.Example with its features
in the order of their names. The framing is that of `records.framing`, the data an Example as `records.example` says.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from elboflow.settings import WorkError
from elboflow.settings.text import counted
from preprocessing.records import fixed, varying
from preprocessing.records.framing import check, frames
from preprocessing.records.schema import KEY, KEY_WIRE, Ragged, Schema, Wire, places

__all__ = ["KEY", "KEY_WIRE", "Column", "Ragged", "Records", "Schema", "Wire", "decode", "encode", "parse"]

Column = np.ndarray | Ragged
"""The values of a feature: [examples] or [examples, length] where all have the same number of them, or ragged."""


@dataclass(frozen=True)
class Records:
    """Framed records, one after the other.

    Attributes:
        data: All their bytes, uint8 [bytes].
        lengths: The bytes of each record, framing included, int64 [records].
    """

    data: np.ndarray
    lengths: np.ndarray

    def reordered(self, order: np.ndarray) -> "Records":
        """Returns the same records in another order."""
        lengths = self.lengths[order]
        if len(lengths) and (lengths == lengths[0]).all():
            return Records(self.data.reshape(-1, lengths[0])[order].reshape(-1), lengths)
        starts = (np.cumsum(self.lengths) - self.lengths)[order]
        return Records(self.data[places(starts, lengths)], lengths)


def encode(schema: Schema, columns: Mapping[str, Column]) -> Records:
    """Returns the framed records of a batch.

    Args:
        schema: What a record holds.
        columns: The values of each feature, of the type of its wire.
    """
    if schema.is_fixed:
        return Records(*fixed.encode(schema, {name: _array(column) for name, column in columns.items()}))
    return Records(*varying.encode(schema, columns))


def decode(schema: Schema, content: np.ndarray, place: str) -> dict[str, Column]:
    """Reads framed records and checks their checksums.

    Args:
        schema: What a record holds.
        content: The bytes of a TFRecord file, uint8 [bytes].
        place: The file, for errors.

    Returns:
        The values of each feature.

    Raises:
        WorkError: The file is damaged, or a record is not of this schema.
    """
    starts, lengths = frames(content, place)
    check(content, starts, lengths, place)
    return parse(schema, content, place)


def parse(schema: Schema, content: np.ndarray, place: str) -> dict[str, Column]:
    """Does what `decode` does, but for the checksums: for records that were made, or checked, a moment ago."""
    starts, lengths = frames(content, place)
    least = schema.least_bytes
    if len(starts) * least > len(content):
        raise WorkError(f"{place}: {counted(len(starts), 'record')} with {least:,} bytes of values are more than it is")
    if schema.is_fixed:
        return {**fixed.parse(schema, content, starts, lengths, place)}
    return varying.parse(schema, content, starts, lengths, place)


def _array(column: Column) -> np.ndarray:
    if isinstance(column, Ragged):
        raise TypeError("a ragged column in records of fixed lengths")
    return column
