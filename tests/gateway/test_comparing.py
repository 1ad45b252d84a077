"""Two answers to one request: what counts as the same, and how far apart they are."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from adapters.tensors import DataType
from gateway.comparing import Comparison, compare

BF16 = DataType.BF16.dtype
NAN, INF = np.nan, np.inf
NUMBERS = [np.float16, np.float32, np.float64, BF16, np.int64, np.uint8]


def one(given: Any, other: Any, tolerance: float = 1e-3, dtype: Any = np.float32) -> Comparison:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return compare({"y": np.array(given, dtype)}, {"y": np.array(other, dtype)}, tolerance)


@given(arrays.arrays(np.float32, arrays.array_shapes(max_dims=3), elements=st.floats(width=32)))
def test_an_answer_agrees_with_itself(values: np.ndarray) -> None:
    found = compare({"y": values}, {"y": values.copy()}, 0.0)
    assert found.agree
    assert found.apart == 0


@pytest.mark.parametrize("dtype", NUMBERS)
def test_any_numbers_are_compared_as_numbers(dtype: Any) -> None:
    found = one([[1, 5]], [[1, 7]], dtype=dtype)
    assert (found.agree, found.apart) == (False, 2.0)
    assert one([[1, 5]], [[1, 7]], tolerance=2, dtype=dtype).agree


@pytest.mark.parametrize(("apart", "agree"), [(0.0009, True), (0.0011, False)])
def test_up_to_the_tolerance_they_agree(apart: float, agree: bool) -> None:
    assert one([1.0, 2.0], [1.0, 2.0 + apart]).agree is agree


def test_the_largest_of_a_row_at_another_place_is_a_difference_within_any_tolerance() -> None:
    assert not one([[0.5, 0.4999]], [[0.4999, 0.5]], tolerance=1).agree
    assert one([0.5, 0.4999], [0.4999, 0.5]).agree  # no rows of classes


def test_where_several_are_the_largest_any_of_their_places_is_right() -> None:
    assert one([[0.0, 0.0, 0.0]], [[1e-9, 0.0, 2e-9]]).agree
    assert one([[1e-9, 0.0, 2e-9]], [[0.0, 0.0, 0.0]]).agree


@pytest.mark.parametrize(
    ("ours", "theirs", "agree", "apart"),
    [([1, NAN], [1, NAN], True, 0), ([1, NAN], [1, 2], False, INF), ([1, 2], [1, NAN], False, INF),
     ([1, INF], [1, INF], True, 0), ([1, INF], [1, -INF], False, INF), ([1, INF], [1, 3], False, INF),
     ([NAN, NAN], [NAN, NAN], True, 0)],
)  # fmt: skip
def test_what_is_no_number_is_alike_in_both_or_infinitely_apart(
    ours: list[float], theirs: list[float], agree: bool, apart: float
) -> None:
    for rows in (ours, [ours, ours]):
        other = [theirs, theirs] if rows is not ours else theirs
        found = one(rows, other, tolerance=10)
        assert (found.agree, found.apart) == (agree, apart)
        assert found.cosine is not None
        assert np.isfinite(found.cosine)


@pytest.mark.parametrize(("ours", "theirs"), [([[1, 2]], [1, 2]), ([[1, 2]], [[1], [2]]), ([1, 2], [1, 2, 3])])
def test_another_shape_is_a_difference(ours: Any, theirs: Any) -> None:
    assert one(ours, theirs) == Comparison(agree=False)


def test_a_missing_output_is_a_difference_and_one_more_is_none() -> None:
    y, z = np.ones(2), np.zeros(2)
    assert not compare({"y": y, "z": z}, {"y": y}, 1).agree
    assert compare({"y": y}, {"y": y, "z": z}, 1).agree
    assert not compare({"y": y}, {}, 1).agree
    assert compare({}, {}, 1) == Comparison(agree=True)


def test_strings_and_truths_have_to_be_equal() -> None:
    for ours, theirs in (([b"a", b"b"], [b"a", b"c"]), ([True, False], [True, True])):
        dtype = object if isinstance(ours[0], bytes) else bool
        assert one(ours, ours, dtype=dtype) == Comparison(agree=True)
        assert one(ours, theirs, dtype=dtype) == Comparison(agree=False)


def test_numbers_do_not_agree_with_strings() -> None:
    assert not compare({"y": np.ones(2)}, {"y": np.array([b"1", b"1"], object)}, 1).agree


def test_other_datatypes_of_numbers_may_agree() -> None:
    assert compare({"y": np.ones(2, np.float32)}, {"y": np.ones(2, np.float16)}, 1e-3).agree


def test_the_worst_output_counts() -> None:
    found = compare(
        {"a": np.array([1.0, 0.0]), "b": np.array([3.0, 4.0])},
        {"a": np.array([0.0, 1.0]), "b": np.array([3.0, 4.5])},
        1,
    )
    assert (found.apart, found.cosine) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("ours", "theirs", "cosine"),
    [([0, 0], [0, 0], 1), ([0, 0], [0, 1], 0), ([1, 1], [2, 2], 1), ([1, 0], [-1, 0], -1), ([1e300], [1e300], 0)],
)
def test_cosine_is_of_directions(ours: list[float], theirs: list[float], cosine: float) -> None:
    assert one(ours, theirs, dtype=np.float64).cosine == pytest.approx(cosine)


def test_empty_outputs_agree() -> None:
    assert compare({"y": np.ones((0, 3))}, {"y": np.ones((0, 3))}, 0) == Comparison(agree=True)
