"""Evidence adds up, and a value is in the bin whose edges are around it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.experiments.evidence import BINS, CLUSTERS, Cell, bins, edges

VALUES = st.lists(st.tuples(st.integers(0, CLUSTERS - 1), st.floats(-10, 1e9)), max_size=50)


def test_edges_ascend_from_nothing_to_everything() -> None:
    bounds = edges()
    assert len(bounds) == BINS + 1
    assert (bounds[0], bounds[-1]) == (0, np.inf)
    assert (np.diff(bounds) > 0).all()
    assert bounds[2:-1] / bounds[1:-2] == pytest.approx(1.01)


@given(st.floats(1e-9, 1e30))
def test_a_value_is_between_the_edges_of_its_bin(value: float) -> None:
    index, bounds = int(bins(np.array([value]))[0]), edges()
    assert bounds[index] * (1 - 1e-12) <= value <= bounds[index + 1] * (1 + 1e-12)


@pytest.mark.parametrize("value", [-1e300, -1, 0.0, 5e-324, 1e300, np.finfo(np.float64).max])
def test_any_value_has_a_bin(value: float) -> None:
    assert int(bins(np.array([value]))[0]) == (0 if value < 1e-3 else BINS - 1)


@given(VALUES, VALUES, st.booleans())
def test_two_parts_merged_are_the_whole(
    one: list[tuple[int, float]], other: list[tuple[int, float]], histogram: bool
) -> None:
    whole, parts = cell([*one, *other], histogram), cell(one, histogram)
    parts.merge(cell(other, histogram))
    assert (whole.count == parts.count).all()
    assert whole.total == pytest.approx(parts.total)
    assert whole.squares == pytest.approx(parts.squares)
    assert whole.values == len(one) + len(other)
    if histogram:
        assert parts.histogram is not None
        assert parts.histogram.sum() == whole.values
        assert (parts.histogram == whole.histogram).all()


def cell(values: list[tuple[int, float]], histogram: bool) -> Cell:
    made = Cell.empty(histogram)
    made.add(np.array([each[0] for each in values], np.int64), np.array([each[1] for each in values]))
    return made


def test_a_merge_leaves_the_other_as_it_was() -> None:
    one, other = Cell.empty(), cell([(1, 2.0)], histogram=True)
    one.merge(other)
    one.add(np.array([1]), np.array([2.0]))
    assert other.histogram is not None
    assert other.histogram.sum() == 1
