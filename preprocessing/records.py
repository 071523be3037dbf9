"""A batch of arrays ⇄ tf.train.Example records in the TFRecord framing, whole matrices at a time.

A record is, byte for byte, what TensorFlow's TFRecordWriter makes of a serialised tf.train.Example with its features
in the order of their names. Records whose integers take equally many bytes differ only in their values, so they are
made, and read, as the rows of one matrix with the values as some of its columns.

The framing is that of `preprocessing.framing`, the data an Example as `preprocessing.example` says.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from elboflow.settings import WorkError
from elboflow.settings.text import counted
from preprocessing.example import BYTES_LIST, FLOAT_LIST, INT64_LIST, Expected, SpellingError, spans
from preprocessing.framing import FOOTER, HEADER, check, crcs, frames

_FLOAT = 4  # bytes
_LONGEST_VARINT = 10  # bytes


@dataclass(frozen=True)
class Schema:
    """What every record holds: the bytes of each image, the names of the int64 features (the key is one), of floats."""

    images: Mapping[str, int]
    integers: tuple[str, ...]
    floats: tuple[str, ...] = ()

    @property
    def sizes(self) -> dict[str, int]:
        """The bytes of each value that takes equally many in every record."""
        return {**self.images, **dict.fromkeys(self.floats, _FLOAT)}

    @property
    def expected(self) -> dict[str, Expected]:
        """What an Example must hold."""
        sizes = {**self.sizes, **dict.fromkeys(self.integers)}
        return {name: Expected(self.kind(name), size) for name, size in sizes.items()}

    def kind(self, name: str) -> int:
        """Returns the field of Feature that holds this feature's value."""
        return BYTES_LIST if name in self.images else FLOAT_LIST if name in self.floats else INT64_LIST


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
        within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        return Records(self.data[np.repeat(starts, lengths) + within], lengths)


@dataclass(frozen=True)
class _Layout:
    """The records of one schema whose integers take the same numbers of bytes.

    Attributes:
        template: One framed record with zeros for its values and the CRC of its data, uint8 [bytes].
        columns: Where the value of each feature lies in it.
    """

    template: np.ndarray
    columns: dict[str, slice]


def encode(schema: Schema, columns: Mapping[str, np.ndarray]) -> Records:
    """Returns the framed records of a batch.

    Args:
        schema: What a record holds.
        columns: uint8 [examples, bytes] for each image; int64 [examples] for each integer; float32 [examples] for each
            float.
    """
    fixed = {**{name: columns[name] for name in schema.images}, **{n: _bytes(columns[n]) for n in schema.floats}}
    varints = {name: _varints(columns[name]) for name in schema.integers}
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
    return Records(data, lengths)


def decode(schema: Schema, content: np.ndarray, place: str) -> dict[str, np.ndarray]:
    """Reads framed records and checks their checksums.

    Args:
        schema: What a record holds.
        content: The bytes of a TFRecord file, uint8 [bytes].
        place: The file, for errors.

    Returns:
        uint8 [examples, bytes] for each image; int64 [examples] for each integer; float32 [examples] for each float.

    Raises:
        WorkError: The file is damaged, or a record is not of this schema.
    """
    starts, lengths = frames(content, place)
    check(content[starts[:, None] + np.arange(HEADER)], np.arange(len(starts)), place)
    for length in np.unique(lengths):
        rows = np.flatnonzero(lengths == length)
        check(_rows(content, starts, lengths, rows)[:, HEADER:], rows, place)
    return parse(schema, content, place)


def parse(schema: Schema, content: np.ndarray, place: str) -> dict[str, np.ndarray]:
    """Does what `decode` does, but for the checksums: for records that were made, or checked, a moment ago."""
    starts, lengths = frames(content, place)
    codes = sum(schema.images.values())
    if len(starts) * codes > len(content):
        raise WorkError(f"{place}: {counted(len(starts), 'record')} with {codes:,} bytes of images are more than it is")
    found: dict[str, np.ndarray] = {
        **{name: np.empty((len(starts), size), np.uint8) for name, size in schema.images.items()},
        **{name: np.empty(len(starts), np.int64) for name in schema.integers},
        **{name: np.empty(len(starts), np.float32) for name in schema.floats},
    }
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
    """Builds the record whose integers take these numbers of bytes."""
    body, columns = b"", {}
    for name, size in sorted({**schema.sizes, **widths}.items()):
        values = _field(schema.kind(name), _field(1, bytes(size)))
        body += _field(1, _field(1, name.encode()) + _field(2, values))
        columns[name] = slice(len(body) - size, len(body))  # the values end their entry
    data = _field(1, body)
    shift = HEADER + len(data) - len(body)
    length = np.frombuffer(len(data).to_bytes(8, "little"), np.uint8)
    framed = b"".join([length.tobytes(), crcs(length[None]).tobytes(), data, bytes(FOOTER)])
    moved = {name: slice(at.start + shift, at.stop + shift) for name, at in columns.items()}
    return _Layout(np.frombuffer(framed, np.uint8), moved)


def _field(number: int, content: bytes) -> bytes:
    """Returns a length-delimited field of a protocol buffer."""
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _varints(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the canonical varint of each int64, uint8 [values, 10] padded at the end, and its width in bytes."""
    rest = values.astype(np.int64).view(np.uint64)[:, None] >> (np.arange(10, dtype=np.uint64) * np.uint64(7))
    width = np.maximum(1, (rest != 0).sum(axis=1))
    digits = (rest & np.uint64(0x7F)).astype(np.uint8)
    digits[np.arange(10) < width[:, None] - 1] |= 0x80
    return digits, width


def _integers(digits: np.ndarray) -> np.ndarray:
    """Returns the int64 of each varint, which all take the same number of bytes, uint8 [values, width]."""
    values = np.zeros(len(digits), np.uint64)
    for position in range(digits.shape[1]):
        values |= (digits[:, position].astype(np.uint64) & np.uint64(0x7F)) << np.uint64(7 * position)
    return values.view(np.int64)


def _bytes(values: np.ndarray) -> np.ndarray:
    """Returns the bytes of each float32 as stored, uint8 [values, 4]."""
    return values.astype("<f4").view(np.uint8).reshape(-1, _FLOAT)


def _floats(stored: np.ndarray) -> np.ndarray:
    """Returns the float32 of each four bytes, uint8 [values, 4]."""
    return np.ascontiguousarray(stored).view("<f4").reshape(-1).astype(np.float32, copy=False)


_READ: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    BYTES_LIST: np.asarray,
    FLOAT_LIST: _floats,
    INT64_LIST: _integers,
}


def _rows(content: np.ndarray, starts: np.ndarray, lengths: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Returns records of one length as the rows of a matrix, uint8 [rows, bytes]."""
    if len(rows) == len(starts):
        return content.reshape(len(rows), lengths[0])
    return content[starts[rows][:, None] + np.arange(lengths[rows[0]])]


def _parse(
    schema: Schema, matrix: np.ndarray, rows: np.ndarray, place: str
) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
    """Yields (which records, their values) for records of one length.

    The first record says where its values lie; it speaks for all records that agree with it in every other bit.
    """
    while len(rows):
        found = _spans(matrix[0, HEADER:-FOOTER].tobytes(), schema, rows[0], place)
        fixed = np.full(matrix.shape[1], 0xFF, np.uint8)
        fixed[-FOOTER:] = 0
        for name, at in found.items():
            fixed[at] = 0x80 if name in schema.integers else 0  # a varint's upper bits say how many bytes it takes
        used = np.flatnonzero(fixed)
        alike = ((matrix[:, used] & fixed[used]) == (matrix[0, used] & fixed[used])).all(axis=1)
        chosen = matrix if alike.all() else matrix[alike]
        for name in schema.integers:
            _require_shortest(chosen[:, found[name]], name, rows[alike], place)
        yield rows[alike], {name: _READ[schema.kind(name)](chosen[:, at]) for name, at in found.items()}
        matrix, rows = matrix[~alike], rows[~alike]


def _spans(example: bytes, schema: Schema, row: int, place: str) -> dict[str, slice]:
    """Finds where, in its framed record, an example keeps the value of each feature of the schema."""
    try:
        found = spans(example, schema.expected)
    except SpellingError as error:
        raise WorkError(f"{place}: record {row:,} {error}") from None
    return {name: slice(at.start + HEADER, at.stop + HEADER) for name, at in found.items()}


def _require_shortest(digits: np.ndarray, name: str, rows: np.ndarray, place: str) -> None:
    """Checks varints of one width, uint8 [values, width]: the last byte holds the highest bits, of which one is set."""
    width = digits.shape[1]
    wrong = (digits[:, -1] == 0) | ((width == _LONGEST_VARINT) & (digits[:, -1] != 1))
    if width > 1 and wrong.any():
        raise WorkError(
            f"{place}: record {rows[np.argmax(wrong)]:,} has a number that is not in its shortest form for the feature "
            f"{name!r}"
        )
