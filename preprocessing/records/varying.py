"""Records of any lengths: all records of a batch are written, and read, side by side, one field after the other.

Writing lays out the pieces of every record (tags, lengths, values), and copies all pieces of one kind at once. Reading
moves one cursor per record through the same pieces; their order is that of the features' names, as they are written.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from elboflow.settings import WorkError
from preprocessing.records.framing import FOOTER, HEADER, crcs, ragged_crcs
from preprocessing.records.schema import Ragged, Schema, Wire, ends, places
from preprocessing.records.varints import LONGEST, digits_of, packed, unpacked, varint

_DELIMITED = 2  # the wire type of all fields: of messages, texts, bytes and packed lists


@dataclass(frozen=True)
class _Piece:
    """A part of every record.

    Attributes:
        content: The bytes of all records' parts, one after the other, uint8 [bytes].
        lengths: The bytes of each, int64 [records].
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
    """Returns the values of framed records, which lie at these places of a file.

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
    """One position in each record, which all move through the same fields.

    Args:
        content: The bytes of the file.
        at: Where the data of each record begin, int64 [records].
        end: Where they end.
        place: The file, for errors.
        numbers: The numbers of the records, for errors; None: from 0 on.
    """

    def __init__(
        self, content: np.ndarray, at: np.ndarray, end: np.ndarray, place: str, numbers: np.ndarray | None = None
    ) -> None:
        self.content, self.at, self.end, self.place, self.numbers = content, at.copy(), end, place, numbers

    def enter(self, number: int, what: str) -> np.ndarray:
        """Reads the tag and the length of a field; returns where the field ends."""
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
        """Moves over bytes that are the same in all records."""
        self._require(self.at + len(constant) <= self.end, told)
        found = self.content[self.at[:, None] + np.arange(len(constant))]
        self._require((found == np.frombuffer(constant, np.uint8)).all(axis=1), told)
        self.at += len(constant)

    def leave(self, end: np.ndarray, what: str) -> None:
        """Checks that nothing is left of a field."""
        self._require(self.at == end, f"has more than is expected in {what}")

    def values(self, end: np.ndarray, wire: Wire, what: str) -> "np.ndarray | Ragged":
        """Reads the values of a list that ends there."""
        if wire.length is None and wire.type != "bytes":
            filled = self.at < end  # an empty packed list has no field
            inner = self._some(filled, what)
        else:
            inner = self.enter(1, what)
        sizes = inner - self.at
        if wire.length is None and wire.type != "bytes":
            self._require((sizes > 0) | ~filled, f"has an empty list that is written as a field in {what}")
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

    def _some(self, filled: np.ndarray, what: str) -> np.ndarray:
        """Reads the field 1 of those records that have one; returns where it ends."""
        some = _Cursors(self.content, self.at[filled], self.end[filled], self.place, np.flatnonzero(filled))
        inner = self.at.copy()
        inner[filled] = some.enter(1, what)
        self.at[filled] = some.at
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
    """Returns the bytes of the values of each record."""
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
    """Returns the pieces of a length-delimited field of these contents."""
    lengths = _sum(inner)
    digits, width = digits_of(lengths)
    prefix = np.concatenate([np.full((len(lengths), 1), number << 3 | _DELIMITED, np.uint8), digits], axis=1)
    return [_Piece(prefix[np.arange(LONGEST + 1) < width[:, None] + 1], width + 1), *inner]


def _without(piece: _Piece, left_out: np.ndarray) -> _Piece:
    """Returns a piece without the parts of some records."""
    keep = np.repeat(~left_out, piece.lengths)
    return _Piece(piece.content[keep], np.where(left_out, 0, piece.lengths))


def _constant(content: bytes, count: int) -> _Piece:
    return _Piece(np.tile(np.frombuffer(content, np.uint8), count), np.full(count, len(content), np.int64))


def _tagged(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | _DELIMITED]) + varint(len(content)) + content


def _sum(pieces: list[_Piece]) -> np.ndarray:
    return np.stack([piece.lengths for piece in pieces]).sum(axis=0)


def _joined(pieces: list[_Piece], count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the records, each with its part of every piece, and their lengths."""
    lengths = _sum(pieces)
    content = np.empty(int(lengths.sum()), np.uint8)
    at = np.cumsum(lengths) - lengths
    for piece in pieces:
        content[places(at, piece.lengths)] = piece.content
        at = at + piece.lengths
    return content, lengths
