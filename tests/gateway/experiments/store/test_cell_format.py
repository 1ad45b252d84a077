"""Cells as bytes."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest

from gateway.experiments.evidence import BINS, HISTOGRAM_CLUSTERS, Cell
from gateway.experiments.store.cell_format import decode, encode
from tests.gateway.experiments.store.evidence import cell, same


@pytest.mark.parametrize("values", [0, 1, 1000, 300_000])
@pytest.mark.parametrize("histogram", [False, True])
def test_a_cell_is_the_same_again(values: int, histogram: bool) -> None:
    made = cell(1, values, histogram)
    again = decode(encode(made))
    assert same(made, again)
    again.merge(made)  # what came back can be added to
    assert again.values == 2 * values


def test_all_bins_and_large_counts_are_the_same_again() -> None:
    made = Cell.empty(histogram=True)
    assert made.histogram is not None
    made.histogram[:] = np.arange(HISTOGRAM_CLUSTERS * BINS).reshape(HISTOGRAM_CLUSTERS, BINS) * 2**40 + 1
    made.total[:] = np.array([-1e300, 1e-300, -0.0, 3.5] * (made.total.size // 4))
    assert same(made, decode(encode(made)))


def test_a_young_cell_takes_few_bytes() -> None:
    assert len(encode(Cell.empty(histogram=True))) < 100
    assert len(encode(cell(1, 100))) < 4000


def test_bytes_that_are_no_cell_are_refused_before_they_take_memory() -> None:
    whole = encode(cell(1))
    head = struct.calcsize("<BIIIId")
    bomb = whole[:head] + zlib.compress(bytes(100 << 20))
    for wrong in (b"", whole[:5], whole[:-10], b"\x02" + whole[1:], whole[: head - 1], bomb, whole[:head] + b"x" * 99):
        with pytest.raises(ValueError, match="a cell"):
            decode(wrong)
    with pytest.raises(ValueError, match="cannot have 4294967295"):
        decode(struct.pack("<BIIIId", 1, 256, HISTOGRAM_CLUSTERS, BINS, 2**32 - 1, 0.0))
