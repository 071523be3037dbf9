"""The framing of TFRecord files and its checksums, for many records at once.

    uint64 length, uint32 masked CRC-32C of the length, the data, uint32 masked CRC-32C of the data

Source: tensorflow/core/lib/io/record_writer.h.
"""

import numpy as np

from elboflow.settings import WorkError

HEADER, FOOTER = 12, 4  # bytes of framing before and after the data


def frames(content: np.ndarray, place: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the start and the length of each record, both int64 [records].

    Args:
        content: The bytes of a TFRecord file, uint8 [bytes].
        place: The file, for the error.

    Raises:
        WorkError: The last record is longer than the rest of the file.
    """
    total, overhead = len(content), HEADER + FOOTER
    first = int.from_bytes(content[:8].tobytes(), "little") + overhead
    if total and total % first == 0 and (content.reshape(-1, first)[:, :8] == content[:8]).all():
        lengths = np.full(total // first, first, np.int64)
        starts = np.cumsum(lengths) - lengths
    else:
        found, at, view = [], 0, content.data
        while at < total:
            found.append(at)
            at += int.from_bytes(view[at : at + 8], "little") + overhead
        if at != total:
            raise WorkError(f"{place}: record {len(found) - 1:,} is truncated: it ends at byte {at:,} of {total:,}")
        starts = np.array(found, np.int64)
        lengths = np.diff(starts, append=total)
    return starts, lengths


def check(content: np.ndarray, starts: np.ndarray, lengths: np.ndarray, place: str) -> None:
    """Checks the CRCs of the length and of the data of each record.

    Args:
        content: The bytes of a TFRecord file, uint8 [bytes].
        starts: The start of each record, int64 [records].
        lengths: The length of each record, int64 [records].
        place: The file, for the error.

    Raises:
        WorkError: A CRC is wrong.
    """
    headers = content[starts[:, None] + np.arange(HEADER)]
    wrong = (crcs(headers[:, :-FOOTER]) != headers[:, -FOOTER:]).any(axis=1)
    footers = content[(starts + lengths)[:, None] + np.arange(-FOOTER, 0)]
    wrong |= (ragged_crcs(content, starts + HEADER, lengths - HEADER - FOOTER) != footers).any(axis=1)
    if wrong.any():
        raise WorkError(f"{place}: record {np.argmax(wrong):,} is corrupted: its CRC-32C does not fit")


def record(data: bytes) -> bytes:
    """Returns one record, framed."""
    length = len(data).to_bytes(8, "little")
    header, footer = (crcs(np.frombuffer(part, np.uint8)[None]).tobytes() for part in (length, data))
    return length + header + data + footer


def ragged_crcs(content: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Returns the masked CRC-32C of pieces of `content`, as stored, uint8 [pieces, 4]."""
    import google_crc32c  # inside: a model that is served reads no records, and does not require it

    data, crc32c = content.tobytes(), google_crc32c.value
    pieces = zip(starts.tolist(), (starts + lengths).tolist(), strict=True)
    plain = np.array([crc32c(data[start:end]) for start, end in pieces], np.uint32)
    return _masked(plain).astype("<u4").view(np.uint8).reshape(-1, 4)


def crcs(matrix: np.ndarray) -> np.ndarray:
    """Returns the masked CRC-32C of each row, as stored, uint8 [rows, 4]."""
    import google_crc32c

    content, size, crc32c = matrix.tobytes(), matrix.shape[1], google_crc32c.value
    plain = np.array([crc32c(content[row * size : (row + 1) * size]) for row in range(len(matrix))], np.uint32)
    return _masked(plain).astype("<u4").view(np.uint8).reshape(-1, 4)


def _masked(crc: np.ndarray) -> np.ndarray:
    """Returns CRC-32Cs in the masked form of TFRecord files."""
    return ((crc >> np.uint32(15)) | (crc << np.uint32(17))) + np.uint32(0xA282EAD8)
