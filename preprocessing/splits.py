"""The split of an example: a function of the example's content alone.

The key of an example is a hash of the features that identify it (`data.identity`); by default images identify, and
labels do not. The split is a function of the key. So an example keeps its split when more data arrive, when their order
changes, and when its label is corrected. Two examples with the same image are in the same split, also if their labels
differ, so that no test image is in the train split.
"""

import hashlib
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from preprocessing.records.schema import Ragged

_TOP_BIT = np.uint64(1 << 62)


def keys(identities: Sequence["np.ndarray | Ragged"]) -> np.ndarray:
    """Returns the key of each example, int64 [examples], in 2⁶² … 2⁶³ - 1.

    The top bit is always set, so that every key is a varint of nine bytes. Then all records of a dataset have the same
    length, and the encoder and the decoder work on whole matrices.

    Args:
        identities: The bytes of each identifying feature, in the order of the features' names: uint8
            [examples, size], or ragged.
    """
    blake2b = hashlib.blake2b
    if any(isinstance(rows, Ragged) for rows in identities):
        whole = [blake2b(row, digest_size=8).digest() for row in _rows(identities)]
        hashes = b"".join(whole)
    else:
        fixed = [rows for rows in identities if isinstance(rows, np.ndarray)]
        rows = fixed[0] if len(fixed) == 1 else np.concatenate(fixed, axis=1)
        content, size = np.ascontiguousarray(rows).tobytes(), rows.shape[1]
        starts = range(0, len(content), size)
        hashes = b"".join([blake2b(content[at : at + size], digest_size=8).digest() for at in starts])
    low = np.frombuffer(hashes, "<u8") & (_TOP_BIT - np.uint64(1))
    return (low | _TOP_BIT).astype(np.int64)


def _rows(identities: Sequence["np.ndarray | Ragged"]) -> list[bytes]:
    """Returns the bytes of each example. Ragged values get a length prefix, so that the bytes are unambiguous."""
    columns: list[list[bytes]] = []
    for rows in identities:
        if isinstance(rows, Ragged):
            content, offsets = rows.values.tobytes(), rows.offsets.tolist()
            pieces = [content[start:end] for start, end in pairwise(offsets)]
            columns.append([len(piece).to_bytes(8, "little") + piece for piece in pieces])
        else:
            columns.append([row.tobytes() for row in np.ascontiguousarray(rows)])
    return [b"".join(parts) for parts in zip(*columns, strict=True)]


def assign(keys: np.ndarray, fractions: Mapping[str, float]) -> tuple[np.ndarray, list[str]]:
    """Assigns each key to a split, with that split's fraction as the probability.

    The splits divide the unit interval in the order of their names; the order in the config has no effect.

    Args:
        keys: int64 [examples].
        fractions: The fraction of each split; the fractions sum to 1.

    Returns:
        The split index of each key, int64 [examples], and the split names by index.
    """
    names = sorted(fractions)
    bounds = np.cumsum([fractions[name] for name in names])[:-1]
    return np.searchsorted(bounds, uniform(keys, b"split"), side="right"), names


def shards(keys: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Returns the shard of each key, int64 [examples] in 0 … count - 1: uniform, and independent of the split.

    Args:
        keys: int64 [examples].
        count: The number of shards of each example's split, int64 [examples].
    """
    return (uniform(keys, b"shard") * count).astype(np.int64)


def uniform(keys: np.ndarray, purpose: bytes) -> np.ndarray:
    """Returns a pseudo-random number in [0, 1) for each key, float64 [keys]: a function of key and purpose.

    The mixing function is the finaliser of SplitMix64 (Steele, Lea and Flood, 2014).
    """
    salt = np.frombuffer(hashlib.blake2b(purpose, digest_size=8).digest(), "<u8")[0]
    x = keys.astype(np.uint64) ^ salt
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return (x >> np.uint64(11)) * 2.0**-53
