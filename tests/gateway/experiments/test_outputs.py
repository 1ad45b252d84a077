"""What answers are like: sums that can be added up, of a part where there is much."""

from __future__ import annotations

import warnings

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from adapters.tensors import DataType
from gateway.experiments.outputs import MOST_OF_ONE, OutputIncrement, examined

BF16 = DataType.BF16.dtype


@given(arrays.arrays(np.float64, arrays.array_shapes(max_dims=3), elements=st.floats(-1e9, 1e9)))
def test_it_has_count_sums_least_and_most_of_the_values(values: np.ndarray) -> None:
    found = examined(values)
    assert found is not None
    assert found.values == values.size
    assert found.total == pytest.approx(values.sum(), rel=1e-9, abs=1e-3)
    assert found.squares == pytest.approx((values**2).sum(), rel=1e-9, abs=1e-3)
    assert (found.least, found.most) == (values.min(), values.max())


def test_classes_are_the_largest_of_each_row() -> None:
    found = examined(np.array([[0.1, 0.9, 0], [0.8, 0.1, 0.1], [0, 1, 0]], np.float32))
    assert found is not None
    assert found.classes == {0: 1, 1: 2}


@pytest.mark.parametrize("values", [np.arange(3.0), np.ones((3, 1)), np.ones((2, 2000)), np.ones((2, 3), np.int64)])
def test_where_there_are_no_classes_none_are_counted(values: np.ndarray) -> None:
    found = examined(values)
    assert found is not None
    assert found.classes == {}


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, BF16])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 3, 5])
def test_one_value_that_is_no_number_is_seen(dtype: np.dtype, bad: float, place: int) -> None:
    values = np.ones((2, 3), dtype)
    assert examined(values) is not None
    values.reshape(-1)[place] = bad
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert examined(values) is None


def test_two_infinities_that_sum_to_nothing_are_seen() -> None:
    assert examined(np.array([np.inf, -np.inf])) is None


@pytest.mark.parametrize(
    "tensor", [np.array([b"a", b"\xff"], object), np.array([True]), np.ones((0, 3)), np.array([], object)]
)
def test_what_holds_no_numbers_is_nothing(tensor: np.ndarray) -> None:
    assert examined(tensor) == OutputIncrement(classes={})


@pytest.mark.parametrize("value", [1e300, -1e308, np.finfo(np.float64).max])
def test_values_too_large_for_sums_leave_the_sums_finite(value: float) -> None:
    assert examined(np.array([value, 1.0])) == OutputIncrement(classes={})


@pytest.mark.parametrize("shape", [(10**6,), (1, 10**6), (1000, 1000), (1, 224, 224, 21), (50_000, 2)])
def test_of_a_large_output_a_part_is_looked_at(shape: tuple[int, ...]) -> None:
    values = np.zeros(shape, np.float32)
    values[..., -1] = 1
    found = examined(values)
    assert found is not None
    assert MOST_OF_ONE // 2 <= found.values <= MOST_OF_ONE + 1024
    if 1 < shape[-1] <= 1000:
        assert found.classes.keys() == {shape[-1] - 1}
    values[:] = np.nan
    assert examined(values) is None


def test_sums_of_parts_are_the_sum() -> None:
    values = np.random.default_rng(1).normal(size=(20, 4)).astype(np.float32)
    whole, parts = examined(values), OutputIncrement(classes={})
    for row in values:
        found = examined(row[None])
        assert found is not None
        parts.add(msgspec.msgpack.decode(msgspec.msgpack.encode(found), type=OutputIncrement))
    assert whole is not None
    assert parts.classes == whole.classes
    assert (parts.values, parts.least, parts.most) == (whole.values, whole.least, whole.most)
    assert (parts.total, parts.squares) == (pytest.approx(whole.total), pytest.approx(whole.squares))
