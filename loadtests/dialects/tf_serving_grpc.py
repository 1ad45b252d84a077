"""TF Serving's gRPC: Predict, its tensors as TensorProto."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any, Final, Literal

import numpy as np

from loadtests.dialects.deployment import Deployment
from loadtests.dialects.protobuf import bytes_field, fields, floats, integers, nested, number_field
from loadtests.dialects.reply import Reply, WrongAnswer, reading
from loadtests.dialects.tensors import Array, checked, datatype, dtype_of, from_bytes, shaped, to_bytes
from loadtests.engine.plan import Request

_PATH: Final = "/tensorflow.serving.PredictionService/Predict"
_TYPES: Final = {
    "FP32": 1, "FP64": 2, "INT32": 3, "UINT8": 4, "INT16": 5, "INT8": 6, "BYTES": 7, "INT64": 9, "BOOL": 10,
    "BF16": 14, "UINT16": 17, "FP16": 19, "UINT32": 22, "UINT64": 23,
}  # fmt: skip
_NAMES: Final = {number: name for name, number in _TYPES.items()}
_DTYPE, _TENSOR_SHAPE, _CONTENT, _FLOATS, _DOUBLES, _STRINGS, _HALFS = 1, 2, 4, 5, 6, 8, 13
_INTEGERS: Final = (7, 10, 11, 16, 17)


class TfServingGrpc:
    """Predict with tensor_content."""

    name = "tfs-grpc"
    protocol: Literal["grpc"] = "grpc"

    def request(self, deployment: str, inputs: Mapping[str, Array]) -> Request:
        """See Dialect."""
        parsed = Deployment.parse(deployment)
        spec = bytes_field(1, parsed.name.encode())
        if parsed.version:
            spec += bytes_field(2, number_field(1, int(parsed.version)))
        entries = (_entry(name, tensor) for name, tensor in inputs.items())
        return Request(_PATH, bytes_field(1, spec) + b"".join(bytes_field(2, entry) for entry in entries))

    def outputs(self, answer: Reply) -> Mapping[str, Array]:
        """See Dialect."""
        with reading(answer, "TF Serving's gRPC") as body:
            entries = [dict(fields(nested(content))) for field, content in fields(body) if field == 1]
            return {
                nested(entry.get(1, b"")).decode(errors="replace"): _tensor(nested(entry.get(2, b"")))
                for entry in entries
            }


def _entry(name: str, tensor: Array) -> bytes:
    shape = b"".join(bytes_field(2, number_field(1, size)) for size in tensor.shape)
    proto = number_field(_DTYPE, _TYPES[datatype(tensor)]) + bytes_field(_TENSOR_SHAPE, shape)
    if tensor.dtype.hasobject:
        proto += b"".join(bytes_field(_STRINGS, each) for each in tensor.ravel())
    else:
        proto += bytes_field(_CONTENT, to_bytes(tensor))
    return bytes_field(1, name.encode()) + bytes_field(2, proto)


def _tensor(proto: bytes) -> Array:
    kind, shape, content, values = "", [], b"", []
    for field, value in fields(proto):
        if field == _DTYPE:
            kind = _NAMES.get(integers(value)[0], f"DataType {value!r:.20}")
        elif field == _TENSOR_SHAPE:
            shape = [_size(nested(dim)) for each, dim in fields(nested(value)) if each == 2]
        elif field == _CONTENT:
            content = nested(value)
        else:
            values += _values(field, value)
    sizes = checked(shape)
    return from_bytes(content, kind, sizes) if content else _filled(values, kind, sizes)


def _size(dim: bytes) -> int:
    return next((integers(value)[0] for field, value in fields(dim) if field == 1), 0)


def _values(field: int, value: int | bytes) -> list[Any]:
    if field in (_FLOATS, _DOUBLES):
        return floats(value, "f" if field == _FLOATS else "d")
    if field == _STRINGS:
        return [nested(value)]
    return integers(value) if field in (*_INTEGERS, _HALFS) else []


def _filled(values: list[Any], kind: str, shape: tuple[int, ...]) -> Array:
    """A tensor of values, the last of which stands for all that are left out."""
    count = prod(shape)
    if (count and not values) or len(values) > count:
        raise WrongAnswer(f"expected {count} values for {kind} {list(shape)}, got {len(values)}")
    dtype = dtype_of(kind)
    if dtype.hasobject:
        return shaped(values + values[-1:] * (count - len(values)), shape)
    given = np.array(values, np.uint16).view(dtype) if kind in ("FP16", "BF16") else np.array(values)  # halfs: bits
    return np.pad(given.astype(dtype), (0, count - len(values)), "edge" if values else "empty").reshape(shape)
