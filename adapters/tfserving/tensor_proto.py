"""numpy <-> TensorProto, without TensorFlow."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from adapters.errors import InvalidInput
from adapters.tensors import DataType, Tensor, from_bytes
from adapters.tfserving.protos import tensor_pb2, types_pb2

_MAX_FILLED_BYTES = 1 << 28
"""A message of a few bytes may claim any shape and leave its values to be repeated; this much is believed."""

_MAX_DIMENSIONS = 32

_FEW = 256
"""Floats up to this are taken from a message one by one."""

_NUMBERS: dict[DataType, int] = {
    DataType.BOOL: types_pb2.DT_BOOL,
    DataType.UINT8: types_pb2.DT_UINT8,
    DataType.UINT16: types_pb2.DT_UINT16,
    DataType.UINT32: types_pb2.DT_UINT32,
    DataType.UINT64: types_pb2.DT_UINT64,
    DataType.INT8: types_pb2.DT_INT8,
    DataType.INT16: types_pb2.DT_INT16,
    DataType.INT32: types_pb2.DT_INT32,
    DataType.INT64: types_pb2.DT_INT64,
    DataType.FP16: types_pb2.DT_HALF,
    DataType.FP32: types_pb2.DT_FLOAT,
    DataType.FP64: types_pb2.DT_DOUBLE,
    DataType.BF16: types_pb2.DT_BFLOAT16,
    DataType.BYTES: types_pb2.DT_STRING,
}
_DATATYPES = {number: datatype for datatype, number in _NUMBERS.items()}

_FIELDS: dict[DataType, str] = {
    DataType.BOOL: "bool_val",
    DataType.UINT8: "int_val",
    DataType.UINT16: "int_val",
    DataType.UINT32: "uint32_val",
    DataType.UINT64: "uint64_val",
    DataType.INT8: "int_val",
    DataType.INT16: "int_val",
    DataType.INT32: "int_val",
    DataType.INT64: "int64_val",
    DataType.FP16: "half_val",
    DataType.FP32: "float_val",
    DataType.FP64: "double_val",
    DataType.BF16: "half_val",
    DataType.BYTES: "string_val",
}

_FLOATS = (DataType.FP32, DataType.FP64)

_PACKED: dict[DataType, bytes] = {
    datatype: bytes([tensor_pb2.TensorProto.DESCRIPTOR.fields_by_name[_FIELDS[datatype]].number << 3 | 2])
    for datatype in (*_FLOATS, DataType.BOOL)
}
"""The tags of the packed fields whose bytes are those of an array."""


def number_of(datatype: DataType) -> int:
    """TensorFlow's number of a datatype: DT_FLOAT is 1."""
    return _NUMBERS[datatype]


def datatype_of(number: int) -> DataType:
    """The datatype of TensorFlow's number; raises InvalidInput for those that no protocol of Torii carries."""
    datatype = _DATATYPES.get(number)
    if datatype is None:
        known = types_pb2.DataType.Name(number) if number in types_pb2.DataType.values() else number
        raise InvalidInput(f"TensorFlow's datatype {known} has no datatype in the protocol")
    return datatype


def encode(tensor: Tensor, into: Any) -> None:
    """Write a tensor into an empty TensorProto, its values as `tensor_content`.

    Raises:
        InvalidInput: no datatype stands for the array's dtype, or an element of a BYTES tensor is not `bytes`.
    """
    datatype = _encode_head(tensor, into)
    if datatype is DataType.BYTES:
        _encode_strings(tensor, into)
    else:
        into.tensor_content = tensor.tobytes()


def encode_values(tensor: Tensor, into: Any) -> None:
    """Write a tensor into an empty TensorProto, its values in the field of their type.

    So answers TF Serving, and many of its clients read `float_val` and nothing else. Raises as `encode` does.
    """
    datatype = _encode_head(tensor, into)
    if datatype is DataType.BYTES:
        _encode_strings(tensor, into)
    elif datatype in _PACKED:
        # These fields hold a tensor's own bytes: parsing them is a copy, and `extend` a hundred times slower.
        content = tensor.tobytes()
        into.MergeFromString(_PACKED[datatype] + _varint(len(content)) + content)
    else:
        bits = np.ascontiguousarray(tensor).view(np.uint16) if _FIELDS[datatype] == "half_val" else tensor
        getattr(into, _FIELDS[datatype]).extend(bits.ravel().tolist())


def _encode_head(tensor: Tensor, into: Any) -> DataType:
    datatype = DataType.of(tensor.dtype)
    into.dtype = _NUMBERS[datatype]
    dimensions = into.tensor_shape.dim
    for size in tensor.shape:
        dimensions.add(size=size)
    return datatype


def _encode_strings(tensor: Tensor, into: Any) -> None:
    try:
        into.string_val.extend(tensor.ravel().tolist())
    except TypeError as error:
        raise InvalidInput(f"expected BYTES elements of type bytes: {error}") from None


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def decode(proto: Any) -> Tensor:
    """The tensor that a TensorProto holds, in either of its two forms; without a copy where it is `tensor_content`.

    Raises:
        InvalidInput: the message contradicts itself, or claims a shape that is out of proportion to its values.
    """
    datatype = datatype_of(proto.dtype)
    shape = _shape(proto.tensor_shape)
    content = proto.tensor_content
    try:
        if content and datatype is not DataType.BYTES:
            return from_bytes(datatype, shape, content)
        if content:
            raise InvalidInput("expected string_val for DT_STRING, got tensor_content")
        field, count = getattr(proto, _FIELDS[datatype]), math.prod(shape)
        values = _packed(proto, datatype, count) if datatype in _FLOATS and len(field) == count > _FEW else None
        return (_values(field, datatype, count) if values is None else values).reshape(shape)
    except (ValueError, OverflowError) as error:  # numpy's own limits, and numbers that their type does not hold
        raise InvalidInput(f"a {datatype} tensor cannot have these values or this shape: {error}") from error


def _packed(proto: Any, datatype: DataType, count: int) -> Tensor | None:
    """The `count` floats of a packed field, off the message's bytes; None where these do not end with them."""
    size = count * datatype.dtype.itemsize
    head = _PACKED[datatype] + _varint(size)
    content: bytes = proto.SerializeToString()
    start = len(content) - size
    return np.frombuffer(content, datatype.dtype, count, start) if content.endswith(head, 0, start) else None


def _shape(proto: Any) -> tuple[int, ...]:
    sizes = tuple(dimension.size for dimension in proto.dim)
    if proto.unknown_rank or len(sizes) > _MAX_DIMENSIONS or any(size < 0 for size in sizes):
        got = "unknown rank" if proto.unknown_rank else str(sizes[:_MAX_DIMENSIONS])
        raise InvalidInput(f"tensor_shape: expected at most {_MAX_DIMENSIONS} known sizes, got {got}")
    return sizes


def _values(field: Any, datatype: DataType, count: int) -> Tensor:
    """The `count` values of a typed field; the last one given stands for all that are left out, zero where none is."""
    if len(field) > count:
        raise InvalidInput(f"expected {count} values for the tensor's shape, got {len(field)}")
    bits = np.dtype(np.uint16) if _FIELDS[datatype] == "half_val" else datatype.dtype
    if len(field) < count and count * bits.itemsize > _MAX_FILLED_BYTES:
        raise InvalidInput(
            f"expected {count} values for the tensor's shape, got {len(field)}; "
            f"repeating the last one is done up to {_MAX_FILLED_BYTES} bytes"
        )
    values = np.fromiter(field, bits, len(field))
    if len(field) < count:
        rest = field[-1] if len(field) else bits.type() if datatype is not DataType.BYTES else b""
        values = np.concatenate([values, np.full(count - len(field), rest, bits)])
    return values.view(datatype.dtype) if bits != datatype.dtype else values
