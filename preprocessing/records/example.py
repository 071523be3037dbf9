"""Where a serialised tf.train.Example keeps the value of each feature, for Examples as this project writes them.

    Example {1: Features {1: map entries {1: name, 2: Feature {1: BytesList | 2: FloatList | 3: Int64List}}}}

Protocol buffers allow one message many spellings: fields twice, numbers with leading zeros, lists in pieces. A reader
that takes values from where they lie, without a parser for each record, must refuse every spelling but one; the order
of the features alone is free. (Source: tensorflow/core/example/{example,feature}.proto.)
"""

from collections.abc import Mapping
from dataclasses import dataclass

BYTES_LIST, FLOAT_LIST, INT64_LIST = 1, 2, 3
"""The field numbers of Feature's kinds."""

_LENGTH_DELIMITED = 2  # the wire type of all fields here: of messages, texts, bytes and packed lists
_VARINT = 10  # bytes, at most


class SpellingError(ValueError):
    """Bytes that are no Example as this project writes them. The sentence goes on after `record 7`: `has no …`."""


def _misspelt(at: int, what: str) -> SpellingError:
    return SpellingError(f"is no such Example: byte {at:,} begins {what}")


@dataclass(frozen=True)
class Expected:
    """What a feature must be.

    Attributes:
        kind: The field of Feature that holds its value.
        size: The bytes of its value; None for an integer, which has from 1 to 10.
    """

    kind: int
    size: int | None


def spans(example: bytes, features: Mapping[str, Expected]) -> dict[str, slice]:
    """Returns where the value of each feature lies: an image's bytes, a float's four, an integer's varint.

    Raises:
        SpellingError: It is not exactly an Example of these features.
    """
    found: dict[str, slice] = {}
    for entry in _fields(example, _only(example, slice(0, len(example)), 1, "the Example")):
        if entry[0] != 1:
            raise _misspelt(entry[1].start, f"a field {entry[0]} of Features, which has none")
        name, value = _entry(example, entry[1])
        if name in found:
            raise _misspelt(entry[1].start, f"the feature {name!r} again")
        found[name] = value
    for name, expected in features.items():
        if name not in found:
            raise SpellingError(f"has no value of the expected size for the feature {name!r}")
        found[name] = _value(example, found[name], name, expected)
    if unknown := sorted(set(found) - set(features)):
        raise SpellingError(f"has a feature {unknown[0]!r}, which its dataset does not have")
    return found


def _entry(example: bytes, span: slice) -> tuple[str, slice]:
    """Returns the name and the place of the Feature of an entry of the map."""
    inside = _fields(example, span)
    if [number for number, _ in inside] != [1, 2]:
        raise _misspelt(span.start, "an entry that is not a name and a Feature")
    (_, name), (_, feature) = inside
    try:
        return example[name].decode(), feature
    except UnicodeDecodeError:
        raise _misspelt(name.start, "a name that is not UTF-8") from None


def _value(example: bytes, feature: slice, name: str, expected: Expected) -> slice:
    what = f"the feature {name!r}"
    value = _only(example, _only(example, feature, expected.kind, what), 1, what)
    length = value.stop - value.start
    if expected.size is not None:
        if length != expected.size:
            raise SpellingError(
                f"has no value of the expected size for {what}: {length:,} bytes instead of {expected.size:,}"
            )
    elif not length or _read_varint(example, value.start)[1] != value.stop:
        raise _misspelt(value.start, f"what is not exactly one integer, in {what}")
    return value


def _only(example: bytes, span: slice, number: int, what: str) -> slice:
    """Returns where the content of the only field of a message lies."""
    inside = _fields(example, span)
    if [found for found, _ in inside] != [number]:
        found = ", ".join(str(found) for found, _ in inside) or "none"
        raise _misspelt(span.start, f"{what}, with the fields {found} instead of {number} alone")
    return inside[0][1]


def _fields(example: bytes, span: slice) -> list[tuple[int, slice]]:
    """Returns the fields of a message: their numbers, and where their contents lie."""
    found, at = [], span.start
    while at < span.stop:
        begin = at
        tag, at = _read_varint(example, at)
        if tag & 7 != _LENGTH_DELIMITED:
            raise _misspelt(begin, f"a field of the wire type {tag & 7} instead of {_LENGTH_DELIMITED}")
        length, at = _read_varint(example, at)
        if at + length > span.stop:
            raise _misspelt(begin, "a field that ends after its message")
        found.append((tag >> 3, slice(at, at + length)))
        at += length
    return found


def _read_varint(example: bytes, at: int) -> tuple[int, int]:
    """Returns a number in its shortest spelling, and where it ends."""
    value = 0
    for position, byte in enumerate(example[at : at + _VARINT]):
        value |= (byte & 0x7F) << (7 * position)
        if byte < 0x80:
            if value >= 1 << 64 or (position and not byte):
                raise _misspelt(at, "a number that is not in its shortest form")
            return value, at + position + 1
    raise _misspelt(at, "a number that does not end")
