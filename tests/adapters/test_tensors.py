"""Datatypes, specifications and raw bytes."""

from __future__ import annotations

import struct

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import InvalidInput
from adapters.tensors import (
    DataType,
    Signature,
    Tensor,
    TensorSpec,
    datatype_named,
    from_bytes,
    show_shape,
    to_bytes,
)
from tests.strategies import same, tensors

NUMBERS = [datatype for datatype in DataType if datatype is not DataType.BYTES]
PIXELS = TensorSpec("pixels", DataType.FP32, (None, 2))
SIGNATURE = Signature(
    (PIXELS, TensorSpec("mask", DataType.BOOL, None)), (TensorSpec("scores", DataType.FP32, (None, 10)),)
)


def texts(*elements: bytes) -> Tensor:
    array = np.empty(len(elements), np.object_)
    array[:] = elements
    return array


@given(tensors())
def test_any_tensor_comes_back_from_its_bytes_as_it_was(tensor: Tensor) -> None:
    back = from_bytes(DataType.of(tensor.dtype), tensor.shape, bytes(to_bytes(tensor)))
    assert same(back, tensor)


@given(tensors())
def test_bytes_are_row_major_whatever_the_memory_layout(tensor: Tensor) -> None:
    for view in (np.asfortranarray(tensor), tensor.T.copy().T, np.repeat(tensor.reshape(-1), 2)[::2]):
        assert bytes(to_bytes(view)) == bytes(to_bytes(tensor))


@pytest.mark.parametrize(
    ("datatype", "size_bytes"),
    list(zip(NUMBERS, (1, 1, 2, 4, 8, 1, 2, 4, 8, 2, 4, 8, 2), strict=True)),
)
def test_every_datatype_has_the_protocol_s_size(datatype: DataType, size_bytes: int) -> None:
    assert len(to_bytes(np.zeros(3, datatype.dtype))) == 3 * size_bytes


def test_the_layout_is_that_of_v2_binary_tensor_data() -> None:
    assert bytes(to_bytes(np.array([1, 258], np.int16))) == b"\x01\x00\x02\x01"
    assert bytes(to_bytes(np.array([1.0], ml_dtypes.bfloat16))) == b"\x80\x3f"
    assert bytes(to_bytes(texts(b"ab", b"", b"\0"))) == b"\x02\0\0\0ab" + b"\0\0\0\0" + b"\x01\0\0\0\0"


@given(st.sampled_from(NUMBERS), st.integers(0, 40))
def test_a_wrong_number_of_bytes_is_refused_with_both_numbers(datatype: DataType, size_bytes: int) -> None:
    right = 3 * datatype.dtype.itemsize
    if size_bytes == right:
        assert from_bytes(datatype, (3,), bytes(size_bytes)).shape == (3,)
        return
    with pytest.raises(InvalidInput, match=rf"expected {right} bytes for {datatype} \[3\], got {size_bytes}$"):
        from_bytes(datatype, (3,), bytes(size_bytes))


@pytest.mark.parametrize(
    ("data", "count", "says"),
    [
        (b"\x05\0\0\0ab", 1, "BYTES element 0 runs past the 6 bytes"),
        (b"\x01\0\0\0a\xff\xff\xff\xffxx", 2, "BYTES element 1 runs past the 11 bytes"),
        (b"\x04\0\0\0abcd\0\0", 2, "BYTES element 1 runs past the 10 bytes"),
        (b"\x01\0\0\0ab", 1, "1 bytes are left over after 1 BYTES elements"),
        (b"", 1, "expected 1 BYTES elements, but 0 bytes hold at most 0"),
    ],
)
def test_bytes_elements_that_disagree_with_their_lengths_are_refused(data: bytes, count: int, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        from_bytes(DataType.BYTES, (count,), data)


@given(st.binary(max_size=60), st.integers(0, 8))
def test_any_bytes_are_bytes_elements_or_refused(data: bytes, count: int) -> None:
    try:
        elements = from_bytes(DataType.BYTES, (count,), data)
    except InvalidInput:
        return
    assert b"".join(struct.pack("<I", len(each)) + each for each in elements) == data


@pytest.mark.parametrize("datatype", DataType)
@pytest.mark.parametrize(
    "shape", [(2**40,), (2**62, 2**62), (2**63 - 1, 2**63 - 1, 0), (2**70, 0), (-1,), (-1, -1), (-4, 0), (1,) * 70]
)
def test_a_shape_that_no_array_can_have_is_refused_before_anything_is_allocated(
    datatype: DataType, shape: tuple[int, ...]
) -> None:
    for data in (b"", bytes(max(4, datatype.dtype.itemsize)), bytes(16)):
        with pytest.raises(InvalidInput):
            from_bytes(datatype, shape, data)


def test_numbers_are_read_where_they_lie() -> None:
    data = struct.pack("<2f", 1.5, -2.0)
    assert np.shares_memory(from_bytes(DataType.FP32, (2,), data), np.frombuffer(data, np.uint8))


@pytest.mark.parametrize("dtype", [np.complex64, np.dtype(">f4"), np.dtype("U3"), np.dtype("M8[s]")])
def test_a_dtype_that_the_protocol_lacks_is_refused(dtype: np.dtype) -> None:
    with pytest.raises(InvalidInput, match="has no datatype in the protocol; expected one of BOOL"):
        DataType.of(np.dtype(dtype))


@pytest.mark.parametrize("name", ["fp32", "FLOAT", "", None, 3, ["FP32"], {"a": 1}])
def test_an_unknown_datatype_is_refused_with_the_known_ones(name: object) -> None:
    with pytest.raises(InvalidInput, match=r"unknown datatype .*expected one of BOOL, UINT8, .*BYTES"):
        datatype_named(name)


def test_shapes_are_shown_as_clients_write_them() -> None:
    assert [show_shape(shape) for shape in ((None, 3), (), None)] == ["[-1, 3]", "[]", "any shape"]


@pytest.mark.parametrize("pixels", [np.zeros((rows, 2), np.float32) for rows in (0, 1, 7)])
def test_tensors_that_fit_are_taken_in_any_order(pixels: Tensor) -> None:
    SIGNATURE.check({"mask": np.zeros((3, 1, 1), np.bool_), "pixels": pixels})
    SIGNATURE.check({"pixels": pixels, "mask": np.array(True)})


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"pixels": np.zeros((1, 2))},
            "input 'pixels': expected datatype FP32, got FP64",
        ),
        (
            {"pixels": np.zeros((1, 2), np.complex64)},
            "input 'pixels': expected datatype FP32, got complex64",
        ),
        (
            {"pixels": np.zeros((1, 3), np.float32)},
            "input 'pixels': expected shape [-1, 2], got [1, 3]: axis 1 must be 2, not 3",
        ),
        (
            {"pixels": np.zeros(2, np.float32)},
            "input 'pixels': expected 2 dimensions, shape [-1, 2], got 1, shape [2]",
        ),
        (
            {"pixels": None},
            "input 'pixels' is missing; the model takes 'pixels' FP32 [-1, 2], 'mask' BOOL any shape, got 'mask'",
        ),
        (
            {"pixel": np.zeros(1)},
            "input 'pixel' is unknown; the model takes 'pixels' FP32 [-1, 2], 'mask' BOOL any shape",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_refused_with_field_expected_and_got(
    changes: dict[str, Tensor | None], says: str
) -> None:
    given_tensors = {"pixels": np.zeros((1, 2), np.float32), "mask": np.array(True), **changes}
    with pytest.raises(InvalidInput) as raised:
        SIGNATURE.check({name: tensor for name, tensor in given_tensors.items() if tensor is not None})
    assert str(raised.value) == says


def test_no_inputs_at_all_is_said_so() -> None:
    with pytest.raises(InvalidInput, match="got no inputs"):
        SIGNATURE.check({})


def test_a_name_of_a_megabyte_is_not_echoed_whole() -> None:
    spec = Signature((), ())
    with pytest.raises(InvalidInput) as raised:
        spec.check({"x" * 2**20: np.zeros(1)})
    assert len(str(raised.value)) < 300


def test_outputs_that_the_model_does_not_give_are_refused_with_those_that_it_gives() -> None:
    SIGNATURE.check_outputs(("scores",))
    with pytest.raises(InvalidInput, match="output 'boxes' is unknown; the model gives scores"):
        SIGNATURE.check_outputs(("scores", "boxes"))


@pytest.mark.parametrize(
    ("shape", "inputs", "rows"),
    [
        ((None, 2), {"pixels": np.zeros((64, 2))}, 64),
        ((None, 2), {"pixels": np.zeros((0, 2))}, 0),
        ((3, 2), {"pixels": np.zeros((3, 2))}, 1),
        ((), {"pixels": np.zeros(())}, 1),
        (None, {"pixels": np.zeros((5, 2))}, 5),
        (None, {"pixels": np.zeros(())}, 1),
        ((None, 2), {}, 1),
    ],
    ids=["a free axis", "no rows", "a fixed axis", "no axis", "any rank", "any rank, and none", "no input"],
)
def test_rows_are_the_first_axis_unless_the_model_fixes_it(
    shape: tuple[int | None, ...] | None, inputs: dict[str, Tensor], rows: int
) -> None:
    signature = Signature((TensorSpec("pixels", DataType.FP64, shape),), ())
    assert signature.rows(inputs) == rows


def test_a_model_without_inputs_is_asked_for_one_row() -> None:
    assert Signature((), ()).rows({}) == 1
