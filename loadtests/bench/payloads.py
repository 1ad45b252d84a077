"""What the clients send: V2's JSON and binary tensors, TF Serving's JSON, and gRPC messages by a few lines of protobuf.

All tensors are FP32. A gRPC library in the clients would cost more than what is measured.
"""

from __future__ import annotations

import json
from typing import Final

import numpy as np
from numpy.typing import NDArray

JSON: Final = ("Content-Type: application/json",)
"""The header lines of JSON bodies."""

_DT_FLOAT: Final = 1


def v2_json(name: str, tensor: NDArray[np.float32]) -> bytes:
    """A V2 body with one tensor, its values as a flat list, as clients write it by way of Python's floats."""
    described = {"name": name, "shape": tensor.shape, "datatype": "FP32", "data": tensor.ravel().tolist()}
    return json.dumps({"inputs": [described]}).encode()


def v2_binary(name: str, tensor: NDArray[np.float32]) -> tuple[bytes, tuple[str, ...]]:
    """A V2 body with one binary tensor that asks for binary answers, and its header lines."""
    parameters = {"binary_data_size": tensor.nbytes}
    described = {"name": name, "shape": tensor.shape, "datatype": "FP32", "parameters": parameters}
    head = json.dumps({"inputs": [described], "parameters": {"binary_data_output": True}}).encode()
    lines = ("Content-Type: application/octet-stream", f"Inference-Header-Content-Length: {len(head)}")
    return head + tensor.tobytes(), lines


def v2_grpc(model: str, name: str, tensor: NDArray[np.float32]) -> bytes:
    """An inference.ModelInferRequest with one tensor in raw_input_contents."""
    shape = b"".join(map(_varint, tensor.shape))
    described = _field(1, name.encode()) + _field(2, b"FP32") + _field(3, shape)
    return _field(1, model.encode()) + _field(5, described) + _field(7, tensor.tobytes())


def tf_serving_json(tensor: NDArray[np.float32]) -> bytes:
    """A body of TF Serving's `:predict`, by row; the model has one input."""
    return json.dumps({"instances": tensor.tolist()}).encode()


def tf_serving_grpc(model: str, name: str, tensor: NDArray[np.float32]) -> bytes:
    """A tensorflow.serving.PredictRequest with one tensor in tensor_content."""
    shape = b"".join(_field(2, _number(1, size)) for size in tensor.shape)
    proto = _number(1, _DT_FLOAT) + _field(2, shape) + _field(4, tensor.tobytes())
    entry = _field(1, name.encode()) + _field(2, proto)
    return _field(1, _field(1, model.encode())) + _field(2, entry)


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _field(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content
