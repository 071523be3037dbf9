"""The lines of a stream, a block at a time."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from elboflow.settings import WorkError
from preprocessing.raw.arrays import Stream
from preprocessing.records.schema import ends, places

if TYPE_CHECKING:
    import pyarrow as pa

BLOCK = 1 << 20
LONGEST = 64 << 20
"""Bytes of the longest line that is read."""

_BOM = b"\xef\xbb\xbf"
_NEWLINE, _RETURN = 10, 13


@dataclass(frozen=True)
class Lines:
    """A block of lines, without blank lines.

    Attributes:
        column: The bytes of each line, without line breaks, as Arrow binary.
        numbers: The line numbers, from 1, int64 [lines].
    """

    column: "pa.Array"
    numbers: np.ndarray


def lines(stream: Stream, place: str) -> Iterator[Lines]:
    """Yields the lines of a stream.

    Args:
        stream: UTF-8 text, which is not checked here. A byte order mark at the start is skipped.
        place: The file, for errors.

    Raises:
        WorkError: A line is longer than LONGEST.
    """
    number, rest = 1, b""
    at_start = True
    while True:
        block = stream.read(BLOCK)
        data = rest + block
        if at_start:
            data, at_start = data.removeprefix(_BOM), False
        if not block:
            if data:
                yield _cut(data + b"\n", number)[0]
            return
        whole, _, rest = data.rpartition(b"\n")
        if len(rest) > LONGEST:
            raise WorkError(f"{place}: a line from number {number:,} on is longer than {LONGEST >> 20} MiB")
        if len(whole) < len(data) - len(rest):
            found, count = _cut(whole + b"\n", number)
            number += count
            yield found


def _cut(data: bytes, first: int) -> tuple[Lines, int]:
    """Splits bytes that end with a line break; returns the lines, and their number including blank lines."""
    import pyarrow as pa

    content = np.frombuffer(data, np.uint8)
    breaks = np.flatnonzero(content == _NEWLINE)
    starts = np.concatenate([np.zeros(1, np.int64), breaks[:-1] + 1])
    stops = breaks - ((breaks > starts) & (content[breaks - 1] == _RETURN))
    lengths = stops - starts
    nonblank = np.flatnonzero(lengths > 0)
    kept, offsets = content[places(starts[nonblank], lengths[nonblank])], ends(lengths[nonblank])
    buffers = [None, pa.py_buffer(offsets.tobytes()), pa.py_buffer(kept.tobytes())]
    column = pa.Array.from_buffers(pa.large_binary(), len(nonblank), buffers)
    return Lines(column, first + nonblank), len(breaks)
