"""A batch of columns ⇄ tf.train.Example records in the TFRecord framing, with NumPy array operations alone.

A record equals, byte for byte, the output of TensorFlow's TFRecordWriter for a serialised tf.train.Example whose
features are sorted by name. `elboflow.artifacts.tfrecord` describes the framing, and `records.example` the Example.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from elboflow.artifacts.tfrecord import check, frames
from elboflow.settings import WorkError
from elboflow.settings.text import counted
from preprocessing.records import fixed, varying
from preprocessing.records.schema import KEY, KEY_WIRE, Ragged, Schema, Wire, places

__all__ = ["KEY", "KEY_WIRE", "Column", "Ragged", "Records", "Schema", "Wire", "decode", "encode", "parse"]

Column = np.ndarray | Ragged
"""The values of a feature: [examples] or [examples, length] if all examples have the same length, otherwise ragged."""


@dataclass(frozen=True)
class Records:
    """Concatenated framed records.

    Attributes:
        data: The bytes of all records, uint8 [bytes].
        lengths: The bytes of each record, framing included, int64 [records].
    """

    data: np.ndarray
    lengths: np.ndarray

    def reordered(self, order: np.ndarray) -> "Records":
        """Returns records by their indices, in the order of the indices."""
        lengths = self.lengths[order]
        if len(lengths) and (lengths == lengths[0]).all():
            return Records(self.data.reshape(-1, lengths[0]).take(order, axis=0).reshape(-1), lengths)
        starts = (np.cumsum(self.lengths) - self.lengths)[order]
        return Records(self.data[places(starts, lengths)], lengths)


def encode(schema: Schema, columns: Mapping[str, Column]) -> Records:
    """Returns the framed records of a batch.

    Args:
        schema: The schema of the records.
        columns: The values of each feature, with the dtype of its wire.
    """
    if schema.is_fixed:
        return Records(*fixed.encode(schema, {name: _array(column) for name, column in columns.items()}))
    return Records(*varying.encode(schema, columns))


def decode(schema: Schema, content: np.ndarray, place: str) -> dict[str, Column]:
    """Reads framed records and checks their checksums.

    Args:
        schema: The schema of the records.
        content: The bytes of a TFRecord file, uint8 [bytes].
        place: The file, for errors.

    Returns:
        The values of each feature.

    Raises:
        WorkError: The file is damaged, or a record does not match the schema.
    """
    starts, lengths = frames(content, place)
    check(content, starts, lengths, place)
    return parse(schema, content, place)


def parse(schema: Schema, content: np.ndarray, place: str) -> dict[str, Column]:
    """Like `decode`, without the check of the checksums, for records that have just been encoded or verified."""
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
