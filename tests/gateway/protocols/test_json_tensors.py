"""Tensors as JSON values: no value is bent to fit its datatype, and no text can cost more than it weighs."""

from __future__ import annotations

import re
import resource
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import InvalidInput
from adapters.tensors import DataType, Tensor
from gateway.protocols.json_tensors import read_data, read_shape, write_data
from tests.strategies import same, tensors, widened

FLOATS = (DataType.FP16, DataType.FP32, DataType.FP64, DataType.BF16)
INTEGERS = tuple(each for each in DataType if each.startswith(("INT", "UINT")))
NAN, INFINITY = float("nan"), float("inf")


def read(data: Any, datatype: DataType, *shape: int, **options: bool) -> Tensor:
    """Read data as it comes out of a body."""
    return read_data(orjson.loads(orjson.dumps(data)), datatype, shape, "x", **options)


def written(tensor: Tensor, **options: bool) -> Any:
    """Data as a client reads it."""
    return orjson.loads(orjson.dumps(write_data(tensor, "y", **options), option=orjson.OPT_SERIALIZE_NUMPY))


def nest(flat: list[Any], shape: tuple[int, ...]) -> Any:
    if not shape:
        return flat[0]
    step = len(flat) // shape[0] if shape[0] else 0
    return [nest(flat[index * step : (index + 1) * step], shape[1:]) for index in range(shape[0])]


def equal(left: Tensor, right: Tensor) -> bool:
    """To the last bit, but for what NaN it is."""
    if left.dtype != right.dtype or left.dtype.kind not in "fV":
        return same(left, right)
    with np.errstate(invalid="ignore"):
        return np.array_equal(widened(left), widened(right), equal_nan=True)


TEXT = st.text(max_size=8).map(str.encode)


@given(tensors(elements=TEXT))
def test_any_tensor_comes_back_from_json_flat_or_nested(tensor: Tensor) -> None:
    datatype = DataType.of(tensor.dtype)
    flat = written(tensor, non_finite=True)
    for data in (flat, nest(flat, tensor.shape)):
        back = read(data, datatype, *tensor.shape, non_finite=datatype in FLOATS)
        assert back.shape == tensor.shape
        assert equal(back, tensor)


@pytest.mark.parametrize("data", [[1, 2, 3, 4, 5, 6], [[1, 2, 3], [4, 5, 6]]])
@pytest.mark.parametrize("datatype", [*INTEGERS, *FLOATS])
def test_integers_are_numbers_for_every_datatype(data: list[Any], datatype: DataType) -> None:
    assert read(data, datatype, 2, 3).astype(np.int64).tolist() == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize("datatype", INTEGERS)
def test_integers_are_taken_to_their_limits_and_no_further(datatype: DataType) -> None:
    limits = np.iinfo(datatype.dtype)
    assert read([limits.min, limits.max, 1], datatype, 3).tolist() == [limits.min, limits.max, 1]
    for wrong in (limits.min - 1, limits.max + 1):
        if -(2**63) <= wrong < 2**64:
            with pytest.raises(
                InvalidInput, match=f"input 'x': data: {wrong} does not fit {datatype}, which goes from"
            ):
                read([1, wrong], datatype, 2)


@pytest.mark.parametrize(
    ("data", "datatype", "says"),
    [
        ([300], "UINT8", "300 does not fit UINT8, which goes from 0 to 255"),
        ([1, -1], "UINT64", "-1 does not fit UINT64"),
        ([1.0], "INT64", "expected integers for INT64, got 1.0"),
        ([1, 1.5], "UINT8", "expected integers for UINT8, got 1.5"),
        ([1e30], "UINT64", "expected integers for UINT64, got 1e+30"),
        ([True], "FP32", "expected numbers for FP32, got true"),
        ([1, False], "INT32", "expected integers for INT32, got false"),
        ([1], "BOOL", "expected true and false for BOOL, got 1"),
        ([True, None], "BOOL", "expected true and false for BOOL, got null"),
        (["true"], "BOOL", "expected true and false for BOOL, got 'true'"),
        (["1.5"], "FP32", "expected numbers for FP32, got '1.5'"),
        ([1, "2"], "INT64", "expected integers for INT64, got '2'"),
        (["NaN"], "FP32", "expected numbers for FP32, got 'NaN'"),
        ([None], "FP64", "expected numbers for FP64, got null"),
        (None, "FP64", "expected numbers for FP64, got null"),
        ([{}], "FP32", "expected numbers for FP32, got {}"),
        ({"a": 1}, "FP32", "expected numbers for FP32, got {'a': 1}"),
        ([1, [2]], "FP32", "expected numbers for FP32, got [2]"),
        ([[1], 2], "FP32", "rows of different lengths"),
        ([[1, 2], [3]], "FP32", "rows of different lengths"),
        ([[[1], [2]], [[3]]], "FP32", "rows of different lengths"),
        ([["a"], ["b", "c"]], "BYTES", "rows of different lengths"),
        ([[1], "2"], "FP32", "rows of different lengths"),
        ([1], "BYTES", "expected strings for BYTES, got 1"),
        (["a", None], "BYTES", "expected strings for BYTES, got null"),
        ([1e300], "FP32", "a value is too large for FP32"),
        ([-1e39], "FP32", "a value is too large for FP32"),
        ([70000], "FP16", "a value is too large for FP16"),
        ([3.4e38 * 1.001], "BF16", "a value is too large for BF16"),
    ],
)
def test_what_does_not_fit_its_datatype_is_refused_with_what_it_was(data: Any, datatype: str, says: str) -> None:
    shape = (len(data),) if isinstance(data, list) else ()
    with pytest.raises(InvalidInput) as raised:
        read(data, DataType(datatype), *shape)
    assert str(raised.value).startswith("input 'x': data: ")
    assert says in str(raised.value)


def test_an_infinity_beside_it_does_not_excuse_a_value_that_is_too_large() -> None:
    with pytest.raises(InvalidInput, match="too large for FP32"):
        read(["Infinity", 1e300], DataType.FP32, 2, non_finite=True)


@pytest.mark.parametrize(
    ("data", "shape", "says"),
    [
        ([1, 2, 3], (2, 2), "shape [2, 2] means 4 elements, but data has 3"),
        ([], (1,), "shape [1] means 1 elements, but data has 0"),
        ([1, 2], (), "shape [] means 1 elements, but data has 2"),
        ([1], (0,), "shape [0] means 0 elements, but data has 1"),
        ([[1, 2, 3], [4, 5, 6]], (3, 2), "data is nested as [2, 3], but its shape says [3, 2]"),
        ([[1, 2, 3]], (3,), "data is nested as [1, 3], but its shape says [3]"),
        ([[[1]]], (1, 1), "data is nested as [1, 1, 1], but its shape says [1, 1]"),
        ([[], []], (3, 0), "data is nested as [2, 0], but its shape says [3, 0]"),
        ([1], (2**62, 2**62), f"shape [{2**62}, {2**62}] means {2**124} elements, but data has 1"),
        ([], (2**63 - 1, 2**63 - 1, 0), f"shape [{2**63 - 1}, {2**63 - 1}, 0]: "),
    ],
    ids=str,
)
@pytest.mark.parametrize("datatype", ["FP32", "BOOL", "BYTES", "INT8"])
def test_a_shape_that_its_data_does_not_have_is_refused(
    data: list[Any], shape: tuple[int, ...], says: str, datatype: str
) -> None:
    with pytest.raises(InvalidInput) as raised:
        read(data, DataType(datatype), *shape)
    assert str(raised.value).startswith(f"input 'x': {says}")


@pytest.mark.parametrize(
    ("data", "shape"), [([], (0,)), ([], (2, 0, 3)), ([[], []], (2, 0)), ([[], []], (2, 0, 3)), ([[[]]], (1, 1, 0, 5))]
)
@pytest.mark.parametrize("datatype", DataType)
def test_tensors_of_no_elements_can_be_written_flat_or_as_deep_as_lists_go(
    data: list[Any], shape: tuple[int, ...], datatype: DataType
) -> None:
    assert read(data, datatype, *shape).shape == shape


def test_a_scalar_is_a_value_or_a_list_of_one() -> None:
    assert read(7, DataType.INT8).tolist() == read([7], DataType.INT8).tolist() == 7
    assert read("a", DataType.BYTES).tolist() == b"a"


def test_texts_are_nested_as_deep_as_numbers_are() -> None:
    flat = [f"{number}" for number in range(24)]
    assert read(nest(flat, (2, 3, 2, 2)), DataType.BYTES, 2, 3, 2, 2).ravel().tolist() == [
        each.encode() for each in flat
    ]


@pytest.mark.parametrize("row", [[1, 2, 3], [1, 2, 3, 4, 5], [], 1, None, "1234", {"a": 1, "b": 2, "c": 3, "d": 4}])
@pytest.mark.parametrize("place", [0, 10, 23])
@pytest.mark.parametrize("datatype", ["FP32", "INT64", "BOOL", "BYTES"])
def test_one_row_that_is_not_like_the_others_is_found_however_deep(row: object, place: int, datatype: str) -> None:
    value: Any = {"BOOL": True, "BYTES": "a"}.get(datatype, 1)
    rows: list[Any] = [[value] * 4 for _ in range(24)]
    rows[place] = row
    for data, shape in ((rows, (24, 4)), (nest(rows, (2, 3, 4)), (2, 3, 4, 4))):
        with pytest.raises(InvalidInput, match=r"^input 'x': (data: |data is nested as|shape .* but data has)"):
            read(data, DataType(datatype), *shape)


@pytest.mark.parametrize(
    ("wrong", "shown"), [(True, "true"), (False, "false"), (None, "null"), ("NaN", "'NaN'"), ("1", "'1'"), ({}, "{}")]
)
@pytest.mark.parametrize("datatype", [*INTEGERS, *FLOATS])
def test_one_wrong_value_in_the_last_place_of_thousands_is_found_and_shown(
    wrong: object, shown: str, datatype: DataType
) -> None:
    flat: list[Any] = [*range(100), *[1, 0] * 1000, wrong]
    for data, shape in ((flat, (2101,)), (nest(flat, (11, 191)), (11, 191))):
        with pytest.raises(InvalidInput, match=f"for {datatype}, got {re.escape(shown)}$"):
            read(data, datatype, *shape)


@pytest.mark.parametrize(("wrong", "shown"), [(1, "1"), (0, "0"), (1.0, "1.0"), (None, "null"), ("true", "'true'")])
def test_numbers_are_no_booleans_even_where_they_are_few(wrong: object, shown: str) -> None:
    with pytest.raises(InvalidInput, match=f"expected true and false for BOOL, got {shown}$"):
        read([*[True, False] * 1000, wrong], DataType.BOOL, 2001)


@pytest.mark.parametrize("datatype", INTEGERS)
def test_a_fraction_in_the_last_place_is_no_integer_even_if_it_is_a_whole_number(datatype: DataType) -> None:
    with pytest.raises(InvalidInput, match=f"expected integers for {datatype}, got 1.0$"):
        read([*[1, 2] * 1000, 1.0], datatype, 2001)


@pytest.mark.parametrize(
    ("datatype", "too_large"), [("FP32", 3.4028235677973366e38), ("FP32", -1e300), ("FP16", 65520.0), ("FP16", 1e5)]
)
def test_what_would_round_to_infinity_is_too_large_even_in_the_last_place(datatype: str, too_large: float) -> None:
    for first in (1, "Infinity"):
        with pytest.raises(InvalidInput, match=f"a value is too large for {datatype}"):
            read([first, *[1.5] * 1000, too_large], DataType(datatype), 1002, non_finite=True)


def test_words_for_numbers_do_not_excuse_other_words_or_booleans() -> None:
    for wrong, shown in (("nan", "'nan'"), ("1", "'1'"), (True, "true"), (None, "null"), (["NaN"], "\\['NaN'\\]")):
        with pytest.raises(InvalidInput, match=f"expected numbers for FP32, got {shown}$"):
            read(["NaN", 1, "-Infinity", wrong], DataType.FP32, 4, non_finite=True)


@pytest.mark.parametrize("value", [1, "a"])
def test_lists_as_deep_as_json_goes_are_refused_or_read_but_never_fail(value: object) -> None:
    deep: Any = value
    for _ in range(1000):
        deep = [deep]
    for datatype in (DataType.FP32, DataType.BYTES):
        for non_finite in (False, True):
            with pytest.raises(InvalidInput, match="nested too deep"):
                read_data(deep, datatype, (1,), "x", non_finite=non_finite)


@pytest.mark.parametrize("datatype", ["FP32", "INT64", "BOOL", "FP16"])
def test_one_long_text_among_many_numbers_takes_no_memory_for_each_of_them(datatype: str) -> None:
    data = [1] * 20_000 + ["x" * 20_000]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InvalidInput):
        read_data(data, DataType(datatype), (20_001,), "x")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000, "kilobytes; numpy would take 1.6 GB"


def test_a_wrong_value_is_shown_in_short_however_long_it_is() -> None:
    for value in ("x" * 10**6, [0] * 10**6, {"a": [0] * 10**6}):
        with pytest.raises(InvalidInput) as raised:
            read_data([1, value], DataType.FP32, (2,), "x")
        assert len(str(raised.value)) < 200


@pytest.mark.parametrize("value", [[], [1], [2**63 - 1, 1], [0, 2**24], [1] * 32])
def test_shapes_are_lists_of_sizes(value: list[int]) -> None:
    assert read_shape(value, "x") == tuple(value)


@pytest.mark.parametrize(
    "value",
    [None, 3, "3", {}, [-1], [1, -5], [1.0], ["1"], [True], [None], [[1]], [2**63], [1] * 33, [1e400], [0, 2**25]],
    ids=str,
)
def test_anything_else_is_no_shape(value: object) -> None:
    with pytest.raises(InvalidInput, match=r"^input 'x': shape: expected"):
        read_shape(value, "x")


@pytest.mark.parametrize("datatype", FLOATS)
def test_numbers_that_json_lacks_are_strings_where_these_are_wanted(datatype: DataType) -> None:
    tensor = np.array([NAN, INFINITY, -INFINITY, 1.5]).astype(datatype.dtype)
    assert written(tensor, non_finite=True) == ["NaN", "Infinity", "-Infinity", 1.5]


def test_one_nan_among_thousands_is_a_string_and_the_others_remain_numbers() -> None:
    tensor = np.arange(3000, dtype=np.float32).reshape(3, 1000) / 7
    tensor[2, 999] = NAN
    back = written(tensor, non_finite=True)
    assert back[-1] == "NaN"
    assert np.array_equal(np.array(back[:-1], np.float32), tensor.ravel()[:-1])


@pytest.mark.parametrize("datatype", FLOATS)
@pytest.mark.parametrize(("value", "word"), [(NAN, "NaN"), (INFINITY, "Infinity"), (-INFINITY, "-Infinity")])
@pytest.mark.parametrize("size", [2, 1000])
def test_they_are_an_error_where_they_are_not(datatype: DataType, value: float, word: str, size: int) -> None:
    tensor = np.zeros(size).astype(datatype.dtype)
    tensor[1] = value
    with pytest.raises(
        InvalidInput, match=f"^output 'y' holds {word}, which JSON has no number for; ask for binary output"
    ):
        write_data(tensor, "y")


def test_infinities_that_cancel_out_are_seen() -> None:
    with pytest.raises(InvalidInput, match="holds Infinity"):
        write_data(np.array([INFINITY, -INFINITY], np.float32), "y")


def test_finite_numbers_whose_sum_is_not_are_written() -> None:
    assert written(np.array([1.7e308, 1.7e308])) == [1.7e308, 1.7e308]


@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.bool_, np.float16])
def test_any_memory_layout_is_written_row_by_row(dtype: type) -> None:
    tensor = np.arange(12).reshape(3, 4).astype(dtype)
    for view in (tensor, np.asfortranarray(tensor), tensor.T.copy().T, np.repeat(tensor, 2, axis=1)[:, ::2]):
        assert written(view) == tensor.ravel().tolist()


def test_bytes_that_are_no_text_are_an_error_that_says_what_to_ask_for() -> None:
    with pytest.raises(InvalidInput, match="output 'y' holds bytes that are no UTF-8 text; ask for binary output"):
        write_data(np.array([b"fine", b"\xff"], object), "y")
