"""A repository of models whose answers are plain to see, for clients that ask for every datatype."""

from __future__ import annotations

from pathlib import Path

from onnx import TensorProto, helper

from tests.e2e.models import add_model, publish, slow_model

ELEMENT_TYPES = {
    "BOOL": TensorProto.BOOL,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BF16": TensorProto.BFLOAT16,
    "BYTES": TensorProto.STRING,
}


def echo_model(element_type: int) -> bytes:
    """y = x, of any shape."""
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "echo",
        [helper.make_tensor_value_info("x", element_type, None)],
        [helper.make_tensor_value_info("y", element_type, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    data: bytes = model.SerializeToString()
    return data


def publish_echoes(repository: Path) -> None:
    """`echo_bool` … `echo_bytes`; `add` (versions 1 and 2: y = x + version); `spare`, to unload; `slow`."""
    for datatype, element_type in ELEMENT_TYPES.items():
        publish(repository, f"echo_{datatype.lower()}", 1, {"model.onnx": echo_model(element_type)})
    for version in (1, 2):
        publish(repository, "add", version, {"model.onnx": add_model(version)})
    publish(repository, "spare", 1, {"model.onnx": add_model(10)})
    publish(repository, "slow", 1, {"model.onnx": slow_model()})
