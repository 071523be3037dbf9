"""Records of fixed lengths, encoded and decoded as matrices.

Records whose integers take the same numbers of bytes differ only in their values. They are the rows of one matrix, in
which the values are fixed columns.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from elboflow.artifacts.tfrecord import FOOTER, HEADER, crcs
from elboflow.artifacts.varints import LONGEST, digits_of, integers_of, varint
from elboflow.settings import WorkError
from preprocessing.records.example import BYTES_LIST, FLOAT_LIST, INT64_LIST, EncodingError, Expected, spans
from preprocessing.records.schema import Schema

_FLOAT = 4  # bytes


@dataclass(frozen=True)
class _Layout:
    """The layout of records of one schema whose integers take the same numbers of bytes.

    Attributes:
        template: A framed record with zeros instead of the values and of the CRC of the data, uint8 [bytes].
        columns: The slice of each feature's value in the record.
    """

    template: np.ndarray
    columns: dict[str, slice]


def encode(schema: Schema, columns: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the framed records of a batch, uint8 [bytes], and the length of each, int64 [records]."""
    fixed = {name: _bytes(columns[name]) for name, wire in schema.wires.items() if wire.size is not None}
    varints = {name: digits_of(columns[name]) for name in _integers(schema)}
    widths = np.stack([width for _, width in varints.values()], axis=1)
    kinds, kind_of = np.unique(widths, axis=0, return_inverse=True) if (widths != widths[:1]).any() else (widths[:1], 0)
    kind_of = np.broadcast_to(np.asarray(kind_of).reshape(-1), len(widths))
    layouts = [_layout(schema, dict(zip(varints, kind.tolist(), strict=True))) for kind in kinds]
    lengths = np.array([len(layout.template) for layout in layouts], np.int64)[kind_of]
    starts = np.cumsum(lengths) - lengths
    data = np.empty(lengths.sum(), np.uint8)
    for number, layout in enumerate(layouts):
        rows = np.flatnonzero(kind_of == number) if len(layouts) > 1 else slice(None)
        count, length = int((kind_of == number).sum()), len(layout.template)
        matrix = data.reshape(count, length) if len(layouts) == 1 else np.empty((count, length), np.uint8)
        matrix[:] = layout.template
        for name, at in layout.columns.items():
            values = fixed[name] if name in fixed else varints[name][0][:, : at.stop - at.start]
            matrix[:, at] = values[rows]
        matrix[:, -FOOTER:] = crcs(matrix[:, HEADER:-FOOTER])
        if len(layouts) > 1:
            data[starts[rows][:, None] + np.arange(length)] = matrix
    return data, lengths


def parse(
    schema: Schema, content: np.ndarray, starts: np.ndarray, lengths: np.ndarray, place: str
) -> dict[str, np.ndarray]:
    """Returns the values of framed records.

    Args:
        schema: The schema of the records.
        content: The bytes of the file, uint8 [bytes].
        starts: The start of each record, int64 [records].
        lengths: The length of each record, int64 [records].
        place: The file, for errors.

    Raises:
        WorkError: A record does not match the schema.
    """
    found: dict[str, np.ndarray] = {}
    for name, wire in schema.wires.items():
        shape = (len(starts),) if wire.is_single else (len(starts), wire.length or 0)
        found[name] = np.empty(shape, wire.dtype)
    for length in np.unique(lengths):
        rows = np.flatnonzero(lengths == length)
        for at, columns in _parse(schema, _rows(content, starts, lengths, rows), rows, place):
            for name, values in columns.items():
                if len(at) == len(starts):
                    found[name] = values
                else:
                    found[name][at] = values
    return found


def _layout(schema: Schema, widths: Mapping[str, int]) -> _Layout:
    """Builds the layout of records whose integers take these numbers of bytes."""
    body, columns = b"", {}
    sizes = {name: widths.get(name, wire.size or 0) for name, wire in schema.wires.items()}
    for name, size in sorted(sizes.items()):
        values = _field(schema.wires[name].list, _field(1, bytes(size)))
        body += _field(1, _field(1, name.encode()) + _field(2, values))
        columns[name] = slice(len(body) - size, len(body))  # values are the last bytes of their entry
    data = _field(1, body)
    shift = HEADER + len(data) - len(body)
    length = np.frombuffer(len(data).to_bytes(8, "little"), np.uint8)
    framed = b"".join([length.tobytes(), crcs(length[None]).tobytes(), data, bytes(FOOTER)])
    moved = {name: slice(at.start + shift, at.stop + shift) for name, at in columns.items()}
    return _Layout(np.frombuffer(framed, np.uint8), moved)


def _field(number: int, content: bytes) -> bytes:
    """Returns a length-delimited field of a protocol buffer."""
    return bytes([number << 3 | 2]) + varint(len(content)) + content


def _integers(schema: Schema) -> list[str]:
    return [name for name, wire in schema.wires.items() if wire.size is None]


def _bytes(values: np.ndarray) -> np.ndarray:
    """Returns the stored bytes of values of fixed size, uint8 [rows, bytes]."""
    if values.dtype == np.uint8:
        return values
    return values.astype("<f4").view(np.uint8).reshape(len(values), -1)


def _floats(stored: np.ndarray) -> np.ndarray:
    """Returns the float32 numbers of stored bytes, [rows] or [rows, numbers]."""
    numbers = np.ascontiguousarray(stored).view("<f4").astype(np.float32, copy=False)
    return numbers.reshape(-1) if numbers.shape[1] == 1 else numbers


_READ: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    BYTES_LIST: np.asarray,
    FLOAT_LIST: _floats,
    INT64_LIST: integers_of,
}


def _rows(content: np.ndarray, starts: np.ndarray, lengths: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Returns records of equal length as the rows of a matrix, uint8 [rows, bytes]."""
    if len(rows) == len(starts):
        return content.reshape(len(rows), lengths[0])
    return content[starts[rows][:, None] + np.arange(lengths[rows[0]])]


def _parse(
    schema: Schema, matrix: np.ndarray, rows: np.ndarray, place: str
) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
    """Yields (record indices, their values) for records of equal length.

    Only the first record is parsed. Its value positions hold for all records that equal it in every bit that does not
    belong to a value. The other records are left for the next iteration.
    """
    while len(rows):
        found = _spans(matrix[0, HEADER:-FOOTER].tobytes(), schema, rows[0], place)
        fixed = np.full(matrix.shape[1], 0xFF, np.uint8)
        fixed[-FOOTER:] = 0
        for name, at in found.items():
            fixed[at] = (
                0x80 if schema.wires[name].size is None else 0
            )  # the top bit of a varint's byte tells whether another byte follows
        used = np.flatnonzero(fixed)
        alike = ((matrix[:, used] & fixed[used]) == (matrix[0, used] & fixed[used])).all(axis=1)
        chosen = matrix if alike.all() else matrix[alike]
        for name in _integers(schema):
            _require_shortest(chosen[:, found[name]], name, rows[alike], place)
        yield rows[alike], {name: _READ[schema.wires[name].list](chosen[:, at]) for name, at in found.items()}
        matrix, rows = matrix[~alike], rows[~alike]


def _spans(example: bytes, schema: Schema, row: int, place: str) -> dict[str, slice]:
    """Returns the slice of each feature's value in the framed record of an example."""
    expected = {name: Expected(wire.list, wire.size) for name, wire in schema.wires.items()}
    try:
        found = spans(example, expected)
    except EncodingError as error:
        raise WorkError(f"{place}: record {row:,} {error}") from None
    return {name: slice(at.start + HEADER, at.stop + HEADER) for name, at in found.items()}


def _require_shortest(digits: np.ndarray, name: str, rows: np.ndarray, place: str) -> None:
    """Checks that varints of equal width, uint8 [values, width], have the shortest form: their last byte is not 0."""
    width = digits.shape[1]
    wrong = (digits[:, -1] == 0) | ((width == LONGEST) & (digits[:, -1] != 1))
    if width > 1 and wrong.any():
        raise WorkError(
            f"{place}: record {rows[np.argmax(wrong)]:,} has a number that is not in its shortest form for the feature "
            f"{name!r}"
        )
