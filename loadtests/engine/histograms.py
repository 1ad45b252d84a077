"""HdrHistograms of many values at once, encoded by numpy: a value at a time would keep requests waiting for it."""

from __future__ import annotations

import struct
import zlib
from typing import Final

import numpy as np
from numpy.typing import NDArray

LOWEST_US: Final = 1
HIGHEST_US: Final = 3_600_000_000
DIGITS: Final = 3

_PAYLOAD_COOKIE: Final = 0x1C849313
_COMPRESSED_COOKIE: Final = 0x1C849314
_HALF_BITS: Final = 10
_HALF: Final = 1 << _HALF_BITS
"""Half of the 2,048 sub-buckets that three digits take; only the first bucket uses its lower half."""


def encode(durations_s: NDArray[np.float64]) -> bytes:
    """Durations [any] as an HdrHistogram V2 of microseconds, compressed; each is 1 µs at least, 1 h at most."""
    values = np.clip(np.rint(durations_s * 1e6), LOWEST_US, HIGHEST_US).astype(np.int64)
    counts = _leb128(_runs(np.bincount(_slots(values)))) if len(values) else b""
    head = struct.pack(">iiiiqqd", _PAYLOAD_COOKIE, len(counts), 0, DIGITS, LOWEST_US, HIGHEST_US, 1.0)
    packed = zlib.compress(head + counts, 1)
    return struct.pack(">ii", _COMPRESSED_COOKIE, len(packed)) + packed


def _slots(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Each value's slot among the counts: values of up to 2,047 have one each, then 2 share one, then 4, …"""
    bits = np.frexp(values.astype(np.float64))[1].astype(np.int64)
    bucket = np.maximum(bits - (_HALF_BITS + 1), 0)
    return (bucket << _HALF_BITS) + (values >> bucket)


def _runs(counts: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Counts as the format writes them, zigzagged: a run of n zeros is -n."""
    filled = np.flatnonzero(counts)
    zeros = np.diff(filled, prepend=-1) - 1
    numbers = np.empty(2 * len(filled), np.int64)
    numbers[0::2] = -zeros
    numbers[1::2] = counts[filled]
    numbers = numbers[numbers != 0]
    zigzagged: NDArray[np.int64] = (numbers << 1) ^ (numbers >> 63)
    return zigzagged.astype(np.uint64)


def _leb128(numbers: NDArray[np.uint64]) -> bytes:
    sizes = np.ones(len(numbers), np.int64)
    for size in range(1, 9):
        sizes += numbers >> np.uint64(7 * size) != 0
    ends = np.cumsum(sizes)
    written = np.zeros(ends[-1], np.uint8)
    for place in range(int(sizes.max())):
        longer = sizes > place
        part = (numbers[longer] >> np.uint64(7 * place)).astype(np.uint8) & 0x7F
        written[ends[longer] - sizes[longer] + place] = part | np.where(sizes[longer] > place + 1, 0x80, 0).astype(
            np.uint8
        )
    return written.tobytes()


def decode(encoded: bytes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The way back: microseconds [distinct], ascending, each the middle of its slot, and how often each came."""
    data = zlib.decompress(encoded[8:])[40:]
    slots, counts = [], []
    slot = number = shift = 0
    for byte in data:
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte & 0x80:
            continue
        if number & 1:
            slot += (number + 1) >> 1
        else:
            slots.append(slot)
            counts.append(number >> 1)
            slot += 1
        number = shift = 0
    filled = np.array(slots, np.int64)
    bucket = np.maximum((filled >> _HALF_BITS) - 1, 0)
    return ((filled - (bucket << _HALF_BITS)) << bucket) + ((1 << bucket) >> 1), np.array(counts, np.int64)
