"""The position of each feature's value in a serialised tf.train.Example, as this project writes it.

    Example {1: Features {1: map entries {1: name, 2: Feature {1: BytesList | 2: FloatList | 3: Int64List}}}}

Protocol buffers allow many encodings of a message: repeated fields, numbers with leading zeros, lists in pieces. The
decoder reads values at fixed positions, without a parse of each record, so it must reject all encodings but one. Only
the order of the features is free. (Source: tensorflow/core/example/{example,feature}.proto.)
"""

from collections.abc import Mapping
from dataclasses import dataclass

BYTES_LIST, FLOAT_LIST, INT64_LIST = 1, 2, 3
"""The field numbers of Feature's kinds."""

_LENGTH_DELIMITED = 2  # the wire type of all fields here: messages, texts, bytes and packed lists
_VARINT = 10  # the most bytes of a varint


class EncodingError(ValueError):
    """Bytes that are no Example as this project writes it. The message continues `record 7 …`, such as `has no …`."""


def _misspelt(at: int, what: str) -> EncodingError:
    return EncodingError(f"is no such Example: byte {at:,} begins {what}")


@dataclass(frozen=True)
class Expected:
    """The expected encoding of a feature.

    Attributes:
        kind: The field of Feature with the value.
        size: The bytes of the value; None for an integer, which takes 1 to 10 bytes.
    """

    kind: int
    size: int | None


def spans(example: bytes, features: Mapping[str, Expected]) -> dict[str, slice]:
    """Returns the slice of each feature's value: an image's bytes, a float's four bytes, an integer's varint.

    Raises:
        EncodingError: The bytes are not exactly an Example with these features.
    """
    found: dict[str, slice] = {}
    for entry in _fields(example, _only_field(example, slice(0, len(example)), 1, "the Example")):
        if entry[0] != 1:
            raise _misspelt(entry[1].start, f"a field {entry[0]} of Features, which has none")
        name, value = _entry(example, entry[1])
        if name in found:
            raise _misspelt(entry[1].start, f"the feature {name!r} again")
        found[name] = value
    for name, expected in features.items():
        if name not in found:
            raise EncodingError(f"has no value of the expected size for the feature {name!r}")
        found[name] = _value(example, found[name], name, expected)
    if unknown := sorted(set(found) - set(features)):
        raise EncodingError(f"has a feature {unknown[0]!r}, which its dataset does not have")
    return found


def _entry(example: bytes, span: slice) -> tuple[str, slice]:
    """Returns the name and the slice of the Feature in a map entry."""
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
    value = _only_field(example, _only_field(example, feature, expected.kind, what), 1, what)
    length = value.stop - value.start
    if expected.size is not None:
        if length != expected.size:
            raise EncodingError(
                f"has no value of the expected size for {what}: {length:,} bytes instead of {expected.size:,}"
            )
    elif not length or _read_varint(example, value.start)[1] != value.stop:
        raise _misspelt(value.start, f"what is not exactly one integer, in {what}")
    return value


def _only_field(example: bytes, span: slice, number: int, what: str) -> slice:
    """Returns the slice of the content of a message's only field."""
    inside = _fields(example, span)
    if [found for found, _ in inside] != [number]:
        found = ", ".join(str(found) for found, _ in inside) or "none"
        raise _misspelt(span.start, f"{what}, with the fields {found} instead of {number} alone")
    return inside[0][1]


def _fields(example: bytes, span: slice) -> list[tuple[int, slice]]:
    """Returns the fields of a message: the number of each field, and the slice of its content."""
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
    """Reads a varint, which must have the shortest form; returns its value, and the position after it."""
    value = 0
    for position, byte in enumerate(example[at : at + _VARINT]):
        value |= (byte & 0x7F) << (7 * position)
        if byte < 0x80:
            if value >= 1 << 64 or (position and not byte):
                raise _misspelt(at, "a number that is not in its shortest form")
            return value, at + position + 1
    raise _misspelt(at, "a number that does not end")
