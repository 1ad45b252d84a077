from __future__ import annotations

import contextlib
from typing import Any

import hypothesis
import ml_dtypes
import numpy as np
import pytest
from hypothesis import strategies as st

from adapters.errors import InvalidInput
from adapters.tensors import DataType, Tensor
from adapters.tfserving.protos import tensor_pb2, types_pb2
from adapters.tfserving.tensor_proto import datatype_of, decode, encode, encode_values, number_of
from tests.strategies import same, tensors


def message(dtype: int, *sizes: int, **fields: object) -> tensor_pb2.TensorProto:
    proto = tensor_pb2.TensorProto(dtype=dtype, **fields)
    for size in sizes:
        proto.tensor_shape.dim.add(size=size)
    return proto


@hypothesis.given(tensors())
def test_every_tensor_comes_back_as_it_was(tensor: Tensor) -> None:
    proto = tensor_pb2.TensorProto()
    encode(tensor, proto)
    assert same(decode(tensor_pb2.TensorProto.FromString(proto.SerializeToString())), tensor)


@hypothesis.given(tensors())
def test_values_in_fields_of_their_type_come_back_too(tensor: Tensor) -> None:
    proto = tensor_pb2.TensorProto()
    encode_values(tensor, proto)
    back = decode(tensor_pb2.TensorProto.FromString(proto.SerializeToString()))
    assert not proto.tensor_content
    assert (back.dtype, back.shape) == (tensor.dtype, tensor.shape)
    if tensor.dtype.kind == "f":  # numbers on their way one by one keep a NaN, and not its payload
        np.testing.assert_array_equal(back, tensor)
    else:
        assert same(back, tensor)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [255, 256, 257, 100_000])
def test_many_floats_come_back_to_the_last_bit(dtype: type[np.floating[Any]], size: int) -> None:
    tensor = np.random.default_rng(0).standard_normal((size, 1)).astype(dtype)
    proto = tensor_pb2.TensorProto()
    encode_values(tensor, proto)
    assert same(decode(proto), tensor)
    assert len(proto.float_val) + len(proto.double_val) == size


def test_many_floats_come_back_from_among_other_fields() -> None:
    values = [float(number) for number in range(1000)]
    proto = message(types_pb2.DT_FLOAT, 1000, float_val=values, double_val=[1.0], int_val=[7], string_val=[b"x"])
    assert decode(proto).tolist() == values
    unknown = tensor_pb2.TensorProto.FromString(proto.SerializeToString() + b"\xf2\x3f\x04abcd")
    assert decode(unknown).tolist() == values


def test_a_transposed_tensor_s_values_are_written_row_by_row() -> None:
    for dtype in (np.float32, np.float16, np.int32):
        tensor = np.arange(6, dtype=dtype).reshape(2, 3).T
        proto = tensor_pb2.TensorProto()
        encode_values(tensor, proto)
        assert same(decode(proto), np.ascontiguousarray(tensor))


def test_every_datatype_has_a_number_of_its_own() -> None:
    assert {datatype_of(number_of(datatype)) for datatype in DataType} == set(DataType)
    assert number_of(DataType.BF16) == types_pb2.DT_BFLOAT16
    assert number_of(DataType.FP16) == types_pb2.DT_HALF


def test_a_transposed_tensor_is_written_row_by_row() -> None:
    tensor = np.arange(6, dtype=np.int32).reshape(2, 3).T
    proto = tensor_pb2.TensorProto()
    encode(tensor, proto)
    assert same(decode(proto), np.ascontiguousarray(tensor))


@pytest.mark.parametrize(
    ("proto", "expected"),
    [
        (message(types_pb2.DT_FLOAT, 2, 2, float_val=[1, 2, 3, 4]), np.array([[1, 2], [3, 4]], np.float32)),
        (message(types_pb2.DT_DOUBLE, 1, double_val=[0.5]), np.array([0.5])),
        (message(types_pb2.DT_INT32, 2, int_val=[-1, 2]), np.array([-1, 2], np.int32)),
        (message(types_pb2.DT_INT16, 1, int_val=[-3]), np.array([-3], np.int16)),
        (message(types_pb2.DT_INT8, 1, int_val=[-3]), np.array([-3], np.int8)),
        (message(types_pb2.DT_UINT16, 1, int_val=[65535]), np.array([65535], np.uint16)),
        (message(types_pb2.DT_UINT8, 1, int_val=[255]), np.array([255], np.uint8)),
        (message(types_pb2.DT_INT64, 1, int64_val=[-(2**63)]), np.array([-(2**63)], np.int64)),
        (message(types_pb2.DT_UINT32, 1, uint32_val=[2**32 - 1]), np.array([2**32 - 1], np.uint32)),
        (message(types_pb2.DT_UINT64, 1, uint64_val=[2**64 - 1]), np.array([2**64 - 1], np.uint64)),
        (message(types_pb2.DT_BOOL, 2, bool_val=[True, False]), np.array([True, False])),
        (message(types_pb2.DT_HALF, 1, half_val=[0x3C00]), np.array([1], np.float16)),
        (message(types_pb2.DT_BFLOAT16, 1, half_val=[0x3F80]), np.array([1], ml_dtypes.bfloat16)),
        (message(types_pb2.DT_STRING, 2, string_val=[b"a\0", b""]), np.array([b"a\0", b""], np.object_)),
        (message(types_pb2.DT_FLOAT, float_val=[7]), np.array(7, np.float32)),
        (message(types_pb2.DT_FLOAT, 3, 0), np.empty((3, 0), np.float32)),
        (message(types_pb2.DT_FLOAT, 3, float_val=[1, 2]), np.array([1, 2, 2], np.float32)),
        (message(types_pb2.DT_HALF, 2, half_val=[0x3C00]), np.array([1, 1], np.float16)),
        (message(types_pb2.DT_STRING, 2, string_val=[b"a"]), np.array([b"a", b"a"], np.object_)),
        (message(types_pb2.DT_INT32, 2), np.array([0, 0], np.int32)),
        (message(types_pb2.DT_STRING, 1), np.array([b""], np.object_)),
    ],
)
def test_typed_values_are_read_and_the_last_one_is_repeated(proto: tensor_pb2.TensorProto, expected: Tensor) -> None:
    assert same(decode(proto), expected)


@pytest.mark.parametrize(
    ("proto", "complaint"),
    [
        (message(types_pb2.DT_FLOAT, 1 << 40, float_val=[1]), "expected 1099511627776 values"),
        (message(types_pb2.DT_STRING, 1 << 40, string_val=[b"a"]), "expected 1099511627776 values"),
        (message(types_pb2.DT_FLOAT, 1 << 40, tensor_content=b"abcd"), "expected 4398046511104 bytes"),
        (message(types_pb2.DT_FLOAT, 0, 1 << 62, 1 << 62), "cannot have"),
        (message(types_pb2.DT_FLOAT, 1 << 62, 1 << 62, 1 << 62), "expected"),
        (message(types_pb2.DT_FLOAT, -1), "tensor_shape"),
        (message(types_pb2.DT_FLOAT, *[1] * 40, float_val=[1]), "tensor_shape"),
        (message(types_pb2.DT_FLOAT, 1, float_val=[1, 2]), "expected 1 values for the tensor's shape, got 2"),
        (message(types_pb2.DT_FLOAT, 2, tensor_content=b"abcd"), "expected 8 bytes"),
        (message(types_pb2.DT_UINT8, 1, int_val=[256]), "256"),
        (message(types_pb2.DT_HALF, 1, half_val=[1 << 16]), "65536"),
        (message(types_pb2.DT_STRING, 1, tensor_content=b"\1a"), "string_val"),
        (message(types_pb2.DT_COMPLEX64, 1, scomplex_val=[1, 0]), "DT_COMPLEX64"),
        (message(types_pb2.DT_INVALID), "DT_INVALID"),
    ],
)
def test_a_message_that_contradicts_itself_is_refused(proto: tensor_pb2.TensorProto, complaint: str) -> None:
    with pytest.raises(InvalidInput, match=complaint):
        decode(proto)


def test_an_unknown_rank_is_refused() -> None:
    proto = message(types_pb2.DT_FLOAT, float_val=[1])
    proto.tensor_shape.unknown_rank = True
    with pytest.raises(InvalidInput, match="unknown rank"):
        decode(proto)


@hypothesis.given(
    st.integers(0, 30),
    st.lists(st.one_of(st.integers(-1, 4), st.integers(-(2**63), 2**63 - 1)), max_size=5),
    st.fixed_dictionaries(
        {},
        optional={
            "tensor_content": st.binary(max_size=20),
            "float_val": st.lists(st.floats(width=32), max_size=3),
            "half_val": st.lists(st.integers(-(2**31), 2**31 - 1), max_size=3),
            "int_val": st.lists(st.integers(-(2**31), 2**31 - 1), max_size=3),
            "string_val": st.lists(st.binary(max_size=3), max_size=3),
        },
    ),
)
def test_any_message_is_decoded_or_refused(dtype: int, sizes: list[int], fields: dict[str, object]) -> None:
    with contextlib.suppress(InvalidInput):
        assert decode(message(dtype, *sizes, **fields)).shape == tuple(sizes)


def test_elements_that_are_not_bytes_are_refused() -> None:
    with pytest.raises(InvalidInput, match="bytes"):
        encode(np.array([1, 2], np.object_), tensor_pb2.TensorProto())


def test_dtypes_without_a_datatype_are_refused() -> None:
    with pytest.raises(InvalidInput, match="complex64"):
        encode(np.zeros(1, np.complex64), tensor_pb2.TensorProto())


def test_tensorflow_itself_agrees_in_both_directions(tensorflow_said: Any) -> None:
    assert tensorflow_said.printed["compared"] == 3 * len(DataType)


def test_tensorflow_can_be_imported_after_the_messages(tensorflow_said: Any) -> None:
    assert tensorflow_said.printed["placeholder_left"] is False
    assert tensorflow_said.printed["computed"] == 3.0
