"""Varints, the integer encoding of protocol buffers: seven bits per byte, the lowest bits first. Vectorised."""

import numpy as np

LONGEST = 10
"""Bytes of the longest varint of 64 bits."""


def varint(value: int) -> bytes:
    """Returns the shortest varint of a number."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def digits_of(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the shortest varint of each int64, uint8 [values, 10], padded with zeros, and its width in bytes."""
    rest = values.astype(np.int64).view(np.uint64)[:, None] >> (np.arange(10, dtype=np.uint64) * np.uint64(7))
    width = np.maximum(1, (rest != 0).sum(axis=1))
    digits = (rest & np.uint64(0x7F)).astype(np.uint8)
    digits[np.arange(10) < width[:, None] - 1] |= 0x80
    return digits, width


def integers_of(digits: np.ndarray) -> np.ndarray:
    """Returns the int64 of each varint, all of the same width, uint8 [values, width]."""
    values = np.zeros(len(digits), np.uint64)
    for position in range(digits.shape[1]):
        values |= (digits[:, position].astype(np.uint64) & np.uint64(0x7F)) << np.uint64(7 * position)
    return values.view(np.int64)


def packed(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the concatenated varints of int64 values, uint8 [bytes], and the width of each, int64 [values]."""
    if not len(values) or (values.min() >= 0 and values.max() < 0x80):
        return values.astype(np.uint8), np.ones(len(values), np.int64)
    digits, width = digits_of(values)
    return digits[np.arange(LONGEST) < width[:, None]], width


def unpacked(content: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Decodes concatenated varints.

    Args:
        content: uint8 [bytes]; the last byte must be the last byte of a varint.

    Returns:
        The numbers, int64 [values], and the end of each varint in `content`, int64 [values].

    Raises:
        ValueError: A varint is not in its shortest form, or too long. The argument is the position of its last byte.
    """
    ends = np.flatnonzero(content < 0x80) + 1
    if len(ends) == len(content):
        return content.astype(np.int64), ends
    widths = np.diff(ends, prepend=0)
    last = content[ends - 1]
    wrong = ((last == 0) & (widths > 1)) | (widths > LONGEST) | ((widths == LONGEST) & (last != 1))
    if wrong.any():
        raise ValueError(int(ends[np.argmax(wrong)]) - 1)
    starts, values = ends - widths, np.zeros(len(ends), np.uint64)
    for position in range(int(widths.max())):
        rows = np.flatnonzero(widths > position)
        digit = content[starts[rows] + position].astype(np.uint64) & np.uint64(0x7F)
        values[rows] |= digit << np.uint64(7 * position)
    return values.view(np.int64), ends
