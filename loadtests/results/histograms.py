"""HdrHistograms of result files, read many at a time into arrays, with limits: files may come from anybody."""

from __future__ import annotations

import base64
import binascii
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

BUCKETS: Final = 23552
"""Of a histogram from 1 µs to 1 h with 3 significant digits."""

_OUTER_COOKIE: Final = 0x1C849314
_INNER_COOKIE: Final = 0x1C849313
_OUTER: Final = struct.Struct(">II")
_INNER: Final = struct.Struct(">IIIIQQd")
_SETTINGS: Final = (0, 3, 1, 3_600_000_000)
_MOST_BYTES: Final = _INNER.size + 2**17
_TOGETHER: Final = 2**18
"""Bytes that are read at once: their arrays still fit a cache."""

_MOST_ENTRIES: Final = 20_000_000
_MOST_UNPACKED: Final = 2**27
"""Twice what the largest result can hold: counts are about as long as their base64, and take 30 ms a MiB."""

_HALF_BITS: Final = 10
_HALF: Final = 1 << _HALF_BITS
_MOST_COUNT: Final = 2**48

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class BadHistogram(ValueError):
    """Text that is no histogram of 1 µs to 1 h with 3 significant digits."""


@dataclass(frozen=True, slots=True)
class Entries:
    """The counts above zero of several histograms, each array [entries].

    `owners`: which histogram, `buckets`: which of its buckets, `counts`: how many values lie there.
    """

    owners: Integers
    buckets: Integers
    counts: Integers


def lower_edges(buckets: Integers) -> Floats:
    """The smallest value of each bucket in µs, [buckets]."""
    return _lower(buckets).astype(np.float64)


def widths(buckets: Integers) -> Floats:
    """How many µs each bucket spans, [buckets]."""
    return np.exp2(_shift(buckets).astype(np.float64))


def read_histograms(texts: Sequence[str]) -> Iterator[Entries]:
    """What the histograms (base64 of HdrHistogram V2, compressed) hold, some of them at a time; owners count from 0.

    Raises:
        BadHistogram: One of them is damaged, has other limits, or all together hold more than can be real.
    """
    payloads: list[bytes] = []
    first = size = entries = unpacked = 0
    for index, text in enumerate(texts):
        payloads.append(_payload(text))
        size += len(payloads[-1])
        unpacked += len(payloads[-1])
        if unpacked > _MOST_UNPACKED:
            raise BadHistogram(f"histograms of more than {_MOST_UNPACKED >> 20} MiB in all")
        if size >= _TOGETHER or index + 1 == len(texts):
            found = _entries(payloads, first)
            entries += len(found.owners)
            if entries > _MOST_ENTRIES:
                raise BadHistogram(f"histograms with more than {_MOST_ENTRIES:,} different values in all")
            yield found
            payloads, first, size = [], index + 1, 0


def _shift(buckets: Integers) -> Integers:
    shifts: Integers = np.maximum((buckets >> _HALF_BITS) - 1, 0)
    return shifts


def _lower(buckets: Integers) -> Integers:
    below = buckets < 2 * _HALF
    values: Integers = np.where(below, buckets, ((buckets & (_HALF - 1)) + _HALF) << _shift(buckets))
    return values


def _payload(text: str) -> bytes:
    """The counts of a histogram, still packed."""
    try:
        data = base64.b64decode(text, validate=True)
        cookie, length = _OUTER.unpack_from(data)
        if cookie != _OUTER_COOKIE or length != len(data) - _OUTER.size:
            raise BadHistogram("not a compressed HdrHistogram V2 of the length that it names")
        unpacker = zlib.decompressobj()
        body = unpacker.decompress(data[_OUTER.size :], _MOST_BYTES)
        inner, size, *settings, _ratio = _INNER.unpack_from(body)
    except (ValueError, binascii.Error, struct.error, zlib.error) as error:
        raise BadHistogram(f"not an HdrHistogram in base64: {error}") from None
    if inner != _INNER_COOKIE or not unpacker.eof or size != len(body) - _INNER.size:
        raise BadHistogram("a histogram's counts are cut off, or more than there can be")
    if tuple(settings) != _SETTINGS:
        raise BadHistogram(
            f"a histogram of {settings[2]} to {settings[3]} with {settings[1]} digits, not 1 µs to 1 h, 3"
        )
    return body[_INNER.size :]


def _entries(payloads: Sequence[bytes], first: int) -> Entries:
    """Unpack ZigZag LEB128 numbers: a positive one is a bucket's count, a negative one so many empty buckets."""
    numbers, owners = _numbers(payloads)
    steps = np.where(numbers > 0, 1, -numbers)
    if np.any(numbers == 0) or np.any(np.abs(numbers) > _MOST_COUNT) or np.any(steps > BUCKETS):
        raise BadHistogram("a histogram with counts that cannot be")
    after = np.cumsum(steps)
    starts = np.searchsorted(owners, np.arange(len(payloads)))
    before = np.concatenate(([0], after))[starts]
    buckets = after - before[owners] - 1
    if np.any(buckets >= BUCKETS):
        raise BadHistogram(f"a histogram with more than {BUCKETS} buckets")
    filled = numbers > 0
    return Entries(owners[filled] + first, buckets[filled], numbers[filled])


def _numbers(payloads: Sequence[bytes]) -> tuple[Integers, Integers]:
    """All numbers of all payloads, [numbers], and whose each is, [numbers]."""
    lengths = np.array([len(payload) for payload in payloads], np.int64)
    octets = np.frombuffer(b"".join(payloads), np.uint8)
    last = octets < 0x80
    ends = np.flatnonzero(last)
    bounds = np.cumsum(lengths)
    if len(octets) and not np.all(last[bounds[lengths > 0] - 1]):
        raise BadHistogram("a histogram's last count is cut off")
    begins = np.concatenate(([0], ends[:-1] + 1)) if len(ends) else ends
    if np.any(ends - begins >= 8):
        raise BadHistogram("a histogram with counts that cannot be")
    places = np.arange(len(octets)) - np.repeat(begins, ends - begins + 1)
    parts = (octets & 0x7F).astype(np.int64) << (7 * places)
    coded = np.add.reduceat(parts, begins) if len(begins) else parts
    return (coded >> 1) ^ -(coded & 1), np.searchsorted(bounds, begins, side="right")
