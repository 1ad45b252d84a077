"""Numbers from JSON have the very bits that a JSON parser and numpy give them."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.tensors import DataType, Tensor
from gateway.protocols.json_tensors import read_data, write_data
from tests.strategies import same, tensors


def read(data: Any, datatype: DataType, *shape: int) -> Tensor:
    return read_data(orjson.loads(orjson.dumps(data, option=orjson.OPT_SERIALIZE_NUMPY)), datatype, shape, "x")


@pytest.mark.parametrize(
    ("datatype", "values"),
    [
        ("INT64", [2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63), 2**62 + 3]),
        ("UINT64", [2**53 + 1, 2**63 + 1, 2**64 - 1, 2**64 - 3]),
    ],
)
def test_integers_that_no_float_can_hold_are_exact(datatype: str, values: list[int]) -> None:
    assert read(values, DataType(datatype), len(values)).tolist() == values
    assert read([[value] for value in values], DataType(datatype), len(values), 1).ravel().tolist() == values


def as_numpy(texts: list[str], datatype: DataType) -> Tensor:
    """What a client sees who reads JSON into floats and gives them to numpy."""
    return np.array([float(text) for text in texts]).astype(datatype.dtype)


@pytest.mark.parametrize("datatype", [DataType.FP16, DataType.FP32, DataType.FP64])
@pytest.mark.parametrize(
    "texts",
    [
        ["0.1", "0.10000000149011612", "1e-7", "123456.789", "16777217", "-3"],
        ["-0.0", "0.0", "-0e0", "0", "1e-400", "-1e-400"],
        ["1e-45", "7e-46", "7.1e-46", "1.1754942e-38", "5e-324", "2e-324", "5.96e-8", "2.98e-8", "3e-8"],
        ["1.00000005960464477539062500000001", "1.0000000596046448", "1.00048828125000001", "9007199254740993"],
        ["1", "2.5", "3", "4.000000001", "18446744073709551615", "-9223372036854775808", "18446744073709551616"],
        ["3.4028234663852886e38", "3.4028235677973362e38", "65504", "65519.99999999999", "1.7976931348623157e308"],
    ],
    ids=["decimals", "zeros", "subnormals", "ties", "mixed", "largest"],
)
def test_floats_have_the_bits_that_numpy_gives_them(texts: list[str], datatype: DataType) -> None:
    with np.errstate(over="ignore"):
        texts = [text for text in texts if np.isfinite(as_numpy([text], datatype)).all()]
    flat = orjson.loads(f"[{','.join(texts)}]")
    expected = as_numpy(texts, datatype)
    assert same(read_data(flat, datatype, (len(texts),), "x"), expected)
    assert same(read_data([[each] for each in flat], datatype, (len(texts), 1), "x").ravel(), expected)
    assert same(read_data(["NaN", *flat], datatype, (len(texts) + 1,), "x", non_finite=True)[1:], expected)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**63), 2**64 - 1)), st.booleans())
def test_any_floats_have_the_bits_that_numpy_gives_them(values: list[float], is_wide: bool) -> None:
    datatype = DataType.FP64 if is_wide else DataType.FP32
    with np.errstate(over="ignore"):
        values = [value for value in values if np.isfinite(datatype.dtype.type(float(value)))]
    assert same(read(values, datatype, len(values)), np.array(values, np.float64).astype(datatype.dtype))


@given(tensors([DataType.FP16, DataType.FP32, DataType.FP64]))
def test_a_float_that_is_written_is_read_as_the_same_bits(tensor: Tensor) -> None:
    finite = np.where(np.isfinite(tensor), tensor, np.zeros((), tensor.dtype))
    back = read(write_data(finite, "y"), DataType.of(tensor.dtype), *tensor.shape)
    assert same(back, finite)
