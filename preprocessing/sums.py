"""Exact sums and counts, independent of the order and the grouping of the terms.

A finite float32 is an integer multiple of 2^-149, and its square of 2^-298. So sums are Python integers.
"""

from fractions import Fraction

import numpy as np

_LEAST = 149  # a float32 is m · 2^(e - 149) with an integer m below 2^24 and e from 0 to 253
_HALF = 12  # bits
_PIECE = 1 << 20  # bytes counted at a time: about the size of a CPU cache


def exact_sum(values: np.ndarray) -> int:
    """Returns the sum of float32 values, as a multiple of 2^-149."""
    mantissas, exponents = _parts(values)
    return _total(mantissas, exponents)


def exact_sum_of_squares(values: np.ndarray) -> int:
    """Returns the sum of the squares of float32 values, as a multiple of 2^-298."""
    mantissas, exponents = _parts(values)
    high, low = np.divmod(np.abs(mantissas), 1 << _HALF)
    parts = ((high * high, 2 * _HALF), (2 * high * low, _HALF), (low * low, 0))
    return sum(_total(part, 2 * exponents) << shift for part, shift in parts)


def mean_of(total: int, count: int) -> float:
    """Returns the mean of `count` values whose `exact_sum` is `total`, correctly rounded."""
    return float(Fraction(total, count << _LEAST))


def byte_counts(rows: np.ndarray) -> np.ndarray:
    """Returns the count of each byte value in uint8 rows [rows, bytes], int64 [256].

    Counting pairs of bytes takes half the time. Counting a block of rows at a time keeps the block in the CPU cache.
    """
    pairs, single = np.zeros(1 << 16, np.int64), np.zeros(256, np.int64)
    size = max(1, _PIECE // max(1, rows.shape[1]))
    for start in range(0, len(rows), size):
        piece = rows[start : start + size].reshape(-1)
        even = len(piece) // 2 * 2
        pairs += np.bincount(piece[:even].view(np.uint16), minlength=1 << 16)
        single += np.bincount(piece[even:], minlength=256)
    square = pairs.reshape(256, 256)
    return square.sum(axis=0) + square.sum(axis=1) + single


def _parts(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns integer mantissas below 2^24 and exponents from 0, with value = mantissa · 2^(exponent - 149)."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    exponents = ((bits >> 23) & 0xFF).astype(np.int64)
    fractions = (bits & 0x7FFFFF).astype(np.int64)
    mantissas = np.where(exponents > 0, fractions | 0x800000, fractions)
    return np.where(bits >> 31, -mantissas, mantissas), np.maximum(exponents, 1) - 1


def _total(mantissas: np.ndarray, exponents: np.ndarray) -> int:
    """Returns Σ mantissa · 2^exponent. Mantissas are below 2^25, so that float64 adds 2^28 of them exactly."""
    if not len(mantissas):
        return 0
    sums = np.bincount(exponents, weights=mantissas)
    return sum(int(each) << exponent for exponent, each in enumerate(sums.tolist()) if each)
