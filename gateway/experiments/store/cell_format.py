"""A cell as bytes: a format number, then compressed arrays, of the histogram only what is not zero."""

from __future__ import annotations

import struct
import zlib
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from gateway.experiments.evidence import BINS, CLUSTERS, HISTOGRAM_CLUSTERS, Cell

FORMAT: Final = 1
_HEAD: Final = struct.Struct("<BIIIId")
"""Format, CLUSTERS, HISTOGRAM_CLUSTERS (0: no histogram), BINS, bins that are not zero, squares."""


def encode(cell: Cell) -> bytes:
    """A cell as bytes; its arrays are little-endian.

    Histograms are gaps between the bins that are not zero, and what these hold: mostly small numbers, whose high bytes
    lie together and so nearly vanish.
    """
    arrays: list[npt.NDArray[Any]] = [cell.count, cell.total]
    shape, filled = (0, 0), np.empty(0, np.int64)
    if cell.histogram is not None:
        shape, flat = (HISTOGRAM_CLUSTERS, BINS), cell.histogram.reshape(-1)
        filled = np.flatnonzero(flat)
        arrays += [np.diff(filled, prepend=0).astype(np.uint32), flat[filled]]
    head = _HEAD.pack(FORMAT, CLUSTERS, *shape, filled.size, cell.squares)
    return head + zlib.compress(b"".join(map(_by_significance, arrays)), level=1)


def decode(state: bytes) -> Cell:
    """The cell again; raises ValueError where the bytes are not such, or of other numbers of clusters or bins."""
    if len(state) < _HEAD.size:
        raise ValueError(f"a cell has {_HEAD.size} bytes at least, this one {len(state)}")
    form, clusters, rows, bins, filled, squares = _HEAD.unpack_from(state)
    if (form, clusters) != (FORMAT, CLUSTERS) or (rows, bins) not in {(0, 0), (HISTOGRAM_CLUSTERS, BINS)}:
        raise ValueError(f"a cell of format {form} with {clusters} clusters and {rows} x {bins} bins is not known")
    if filled > rows * bins:
        raise ValueError(f"a cell of {rows} x {bins} bins cannot have {filled} that are not zero")
    size = 16 * clusters + 12 * filled
    try:
        data = zlib.decompressobj().decompress(state[_HEAD.size :], size + 1)
    except zlib.error as error:
        raise ValueError(f"a cell cannot be unpacked: {error}") from error
    if len(data) != size:
        raise ValueError(f"a cell has {len(data)} bytes unpacked, and {size} were expected")
    return _cell(data, squares, filled if rows else None)


def _cell(data: bytes, squares: float, filled: int | None) -> Cell:
    arrays = _Arrays(data)
    count, total = arrays.take("<f8", CLUSTERS), arrays.take("<f8", CLUSTERS)
    if filled is None:
        return Cell(count, total, squares)
    places, counts = np.cumsum(arrays.take("<u4", filled), dtype=np.int64), arrays.take("<i8", filled)
    if filled and not places[-1] < HISTOGRAM_CLUSTERS * BINS:
        raise ValueError(f"a cell names bin {places[-1]} of {HISTOGRAM_CLUSTERS * BINS}")
    flat = np.zeros(HISTOGRAM_CLUSTERS * BINS, np.int64)
    flat[places] = counts
    return Cell(count, total, squares, flat.reshape(HISTOGRAM_CLUSTERS, BINS))


def _by_significance(array: npt.NDArray[Any]) -> bytes:
    """All lowest bytes, then all second ones, and so on."""
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return little.view(np.uint8).reshape(-1, little.itemsize).T.tobytes()


class _Arrays:
    """Takes one array after the other from bytes in order of significance."""

    def __init__(self, data: bytes) -> None:
        self._data = np.frombuffer(data, np.uint8)

    def take(self, kind: str, length: int) -> npt.NDArray[Any]:
        width = np.dtype(kind).itemsize
        part, self._data = self._data[: width * length], self._data[width * length :]
        values = np.ascontiguousarray(part.reshape(width, length).T).view(kind).reshape(length)
        return values.astype(values.dtype.newbyteorder("="))
