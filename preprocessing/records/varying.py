"""Records of varying lengths: all records of a batch are encoded and decoded in parallel, field by field.

The encoder computes the pieces of every record (tags, lengths, values), and copies all pieces of one kind at once. The
decoder moves one cursor per record through the same pieces. The features are in the order of their names.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from elboflow.artifacts.tfrecord import FOOTER, HEADER, crcs, ragged_crcs
from elboflow.artifacts.varints import LONGEST, digits_of, packed, unpacked, varint
from elboflow.settings import WorkError
from preprocessing.records.schema import Ragged, Schema, Wire, ends, places

_DELIMITED = 2  # the wire type of all fields: messages, texts, bytes and packed lists


@dataclass(frozen=True)
class _Piece:
    """One piece of every record.

    Attributes:
        content: The concatenated bytes of the piece in all records, uint8 [bytes].
        lengths: The bytes of the piece in each record, int64 [records].
    """

    content: np.ndarray
    lengths: np.ndarray


def encode(schema: Schema, columns: Mapping[str, "np.ndarray | Ragged"]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the framed records of a batch, uint8 [bytes], and the length of each, int64 [records]."""
    count = len(next(iter(columns.values())))
    body: list[_Piece] = []
    for name, wire in sorted(schema.wires.items()):
        stored = _stored(columns[name], wire)
        listed = _wrapped(1, [stored])
        if wire.length is None and wire.type != "bytes":  # an empty packed list has no field; an empty text has one
            listed = [_without(piece, stored.lengths == 0) for piece in listed]
        value = _wrapped(2, _wrapped(wire.list, listed))
        named = _constant(_tagged(1, name.encode()), count)
        body += _wrapped(1, [named, *value])
    data = _wrapped(1, body)
    size = _sum(data)
    header = np.frombuffer(size.astype("<u8").tobytes(), np.uint8).reshape(-1, 8)
    framed = np.concatenate([header, crcs(header)], axis=1)
    whole = [_Piece(framed.reshape(-1), np.full(count, HEADER)), *data, _constant(bytes(FOOTER), count)]
    content, lengths = _joined(whole, count)
    starts = np.cumsum(lengths) - lengths
    footers = (starts + lengths)[:, None] + np.arange(-FOOTER, 0)
    content[footers] = ragged_crcs(content, starts + HEADER, size)
    return content, lengths


def parse(
    schema: Schema, content: np.ndarray, starts: np.ndarray, lengths: np.ndarray, place: str
) -> dict[str, "np.ndarray | Ragged"]:
    """Returns the values of framed records.

    Args:
        schema: The schema of the records.
        content: The bytes of the file, uint8 [bytes].
        starts: The start of each record, int64 [records].
        lengths: The length of each record, int64 [records].
        place: The file, for errors.

    Raises:
        WorkError: A record is not exactly what `encode` writes.
    """
    reading = _Cursors(content, starts + HEADER, starts + lengths - FOOTER, place)
    found: dict[str, np.ndarray | Ragged] = {}
    whole = reading.enter(1, "the Example")
    for name, wire in sorted(schema.wires.items()):
        what = f"the feature {name!r}"
        entry = reading.enter(1, what)
        reading.expect(_tagged(1, name.encode()), f"has no value of the expected size for {what}")
        feature = reading.enter(2, what)
        listed = reading.enter(wire.list, what)
        found[name] = reading.values(listed, wire, what)
        reading.leave(listed, what)
        reading.leave(feature, what)
        reading.leave(entry, what)
    reading.leave(whole, "the Example")
    return found


class _Cursors:
    """One cursor per record. All cursors move through the same fields.

    Args:
        content: The bytes of the file, uint8 [bytes].
        at: The start of each record's data, int64 [records].
        end: The end of each record's data, int64 [records].
        place: The file, for errors.
        numbers: The numbers of the records, for errors; None for 0, 1, 2, …
    """

    def __init__(
        self, content: np.ndarray, at: np.ndarray, end: np.ndarray, place: str, numbers: np.ndarray | None = None
    ) -> None:
        self.content, self.at, self.end, self.place, self.numbers = content, at.copy(), end, place, numbers

    def enter(self, number: int, what: str) -> np.ndarray:
        """Reads the tag and the length of a field; returns the end of the field in each record, int64 [records]."""
        self._require(self.at < self.end, f"has no value of the expected size for {what}")
        found = self.content[np.minimum(self.at, len(self.content) - 1)]
        self._require(found == (number << 3 | _DELIMITED), f"has no field {number} in {what}")
        self.at += 1
        length = np.zeros(len(self.at), np.int64)
        active = np.ones(len(self.at), bool)
        for position in range(5):
            byte = np.where(active, self.content[np.minimum(self.at, len(self.content) - 1)], 0).astype(np.int64)
            length |= (byte & 0x7F) << (7 * position)
            self.at += active
            shortest = ~active | (byte != 0) | (position == 0)
            self._require(shortest, f"has a length that is not in its shortest form in {what}")
            active &= byte >= 0x80
        self._require(~active & (self.at + length <= self.end), f"has a field that ends after its message in {what}")
        return self.at + length

    def expect(self, constant: bytes, told: str) -> None:
        """Checks and skips bytes that are the same in all records."""
        self._require(self.at + len(constant) <= self.end, told)
        found = self.content[self.at[:, None] + np.arange(len(constant))]
        self._require((found == np.frombuffer(constant, np.uint8)).all(axis=1), told)
        self.at += len(constant)

    def leave(self, end: np.ndarray, what: str) -> None:
        """Checks that each cursor is at the end of a field."""
        self._require(self.at == end, f"has more than is expected in {what}")

    def values(self, end: np.ndarray, wire: Wire, what: str) -> "np.ndarray | Ragged":
        """Reads the values of a list with these ends, int64 [records]."""
        if wire.length is None and wire.type != "bytes":
            nonempty = self.at < end  # an empty packed list has no field
            inner = self._enter_nonempty(nonempty, what)
        else:
            inner = self.enter(1, what)
        sizes = inner - self.at
        if wire.length is None and wire.type != "bytes":
            self._require((sizes > 0) | ~nonempty, f"has an empty list that is written as a field in {what}")
        stored = self.content[places(self.at, sizes)]
        self.at = inner
        if wire.size is not None:
            told = f"has no value of the expected size for {what}"
            self._require(sizes == wire.size, told)
        if wire.type == "int64":
            return self._integers(stored, sizes, wire, what)
        if wire.type == "float32":
            self._require(sizes % 4 == 0, f"has a float of other than four bytes in {what}")
            stored, sizes = np.ascontiguousarray(stored).view("<f4").astype(np.float32, copy=False), sizes // 4
        return Ragged(stored, ends(sizes)) if wire.length is None else _shaped(stored, wire)

    def _enter_nonempty(self, nonempty: np.ndarray, what: str) -> np.ndarray:
        """Enters field 1 in the records whose list is not empty; returns the end of the field in each record."""
        some = _Cursors(self.content, self.at[nonempty], self.end[nonempty], self.place, np.flatnonzero(nonempty))
        inner = self.at.copy()
        inner[nonempty] = some.enter(1, what)
        self.at[nonempty] = some.at
        return inner

    def _integers(self, stored: np.ndarray, sizes: np.ndarray, wire: Wire, what: str) -> "np.ndarray | Ragged":
        last = stored[np.cumsum(sizes) - 1] if len(stored) else np.zeros(len(sizes), np.uint8)
        self._require((sizes == 0) | (last < 0x80), f"has a number that does not end in {what}")
        try:
            values, at = unpacked(stored)
        except ValueError as error:
            row = int(np.searchsorted(np.cumsum(sizes), error.args[0], side="right"))
            raise WorkError(
                f"{self.place}: record {row:,} has a number that is not in its shortest form in {what}"
            ) from None
        counts = np.diff(np.searchsorted(at, np.cumsum(sizes), side="right"), prepend=0)
        if wire.length is None:
            return Ragged(values, ends(counts))
        self._require(counts == wire.length, f"has not exactly {wire.length} numbers in {what}")
        return _shaped(values, wire)

    def _require(self, holds: np.ndarray, told: str) -> None:
        if not holds.all():
            row = int(np.argmin(holds))
            number = row if self.numbers is None else int(self.numbers[row])
            raise WorkError(f"{self.place}: record {number:,} {told}")


def _shaped(values: np.ndarray, wire: Wire) -> np.ndarray:
    return values if wire.is_single else values.reshape(-1, wire.length or 0)


def _stored(column: "np.ndarray | Ragged", wire: Wire) -> _Piece:
    """Returns the encoded values of each record."""
    if isinstance(column, Ragged):
        values, counts = column.values, column.lengths
    else:
        values, counts = column.reshape(-1), np.full(len(column), wire.length, np.int64)
    if wire.type == "int64":
        content, widths = packed(values)
        upto = ends(widths)
        offsets = ends(counts)
        return _Piece(content, np.diff(upto[offsets]))
    if wire.type == "float32":
        return _Piece(np.ascontiguousarray(values, "<f4").view(np.uint8), counts * 4)
    return _Piece(values, counts)


def _wrapped(number: int, inner: list[_Piece]) -> list[_Piece]:
    """Returns the pieces of a length-delimited field with these pieces as its content."""
    lengths = _sum(inner)
    digits, width = digits_of(lengths)
    prefix = np.concatenate([np.full((len(lengths), 1), number << 3 | _DELIMITED, np.uint8), digits], axis=1)
    return [_Piece(prefix[np.arange(LONGEST + 1) < width[:, None] + 1], width + 1), *inner]


def _without(piece: _Piece, left_out: np.ndarray) -> _Piece:
    """Returns a piece that is empty in the records of a mask, bool [records]."""
    keep = np.repeat(~left_out, piece.lengths)
    return _Piece(piece.content[keep], np.where(left_out, 0, piece.lengths))


def _constant(content: bytes, count: int) -> _Piece:
    return _Piece(np.tile(np.frombuffer(content, np.uint8), count), np.full(count, len(content), np.int64))


def _tagged(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | _DELIMITED]) + varint(len(content)) + content


def _sum(pieces: list[_Piece]) -> np.ndarray:
    return np.stack([piece.lengths for piece in pieces]).sum(axis=0)


def _joined(pieces: list[_Piece], count: int) -> tuple[np.ndarray, np.ndarray]:
    """Concatenates the pieces of each record; returns the bytes of all records, and the length of each."""
    lengths = _sum(pieces)
    content = np.empty(int(lengths.sum()), np.uint8)
    at = np.cumsum(lengths) - lengths
    for piece in pieces:
        content[places(at, piece.lengths)] = piece.content
        at = at + piece.lengths
    return content, lengths
