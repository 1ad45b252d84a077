"""Small ONNX models whose answers are plain to see, and version folders that appear the way people make them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from adapters.tensors import DataType


def add_model(constant: float) -> bytes:
    """y = x + constant; x and y FP32 [batch, 2]."""
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "k"], ["y"])],
        "add",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 2])],
        [numpy_helper.from_array(np.array([constant], np.float32), "k")],
    )
    return _bytes(graph)


def lookup_model(size: int) -> bytes:
    """y = a table's entry n, which is n, and a failure at run time from n = `size` on; n and y INT64 [1]."""
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "n"], ["y"])],
        "lookup",
        [helper.make_tensor_value_info("n", TensorProto.INT64, [1])],
        [helper.make_tensor_value_info("y", TensorProto.INT64, [1])],
        [numpy_helper.from_array(np.arange(size, dtype=np.int64), "table")],
    )
    return _bytes(graph)


def slow_model(times: int = 1) -> bytes:
    """y = n after n * `times` rounds of multiplying matrices (about 1 ms each); n and y INT64 [1]."""
    square = numpy_helper.from_array(np.full((400, 400), 1 / 400, np.float32), "m")
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["a", "m"], ["a_out"]),
            helper.make_node("Identity", ["go_in"], ["go_out"]),
        ],
        "round",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go_in", TensorProto.BOOL, []),
            helper.make_tensor_value_info("a", TensorProto.FLOAT, [400, 400]),
        ],
        [
            helper.make_tensor_value_info("go_out", TensorProto.BOOL, []),
            helper.make_tensor_value_info("a_out", TensorProto.FLOAT, [400, 400]),
        ],
    )
    graph = helper.make_graph(
        [
            helper.make_node("Mul", ["n", "factor"], ["all"]),
            helper.make_node("Squeeze", ["all"], ["times"]),
            helper.make_node("Loop", ["times", "go", "m"], ["last"], body=body),
            helper.make_node("ReduceSum", ["last"], ["sum"], keepdims=0),
            helper.make_node("Mul", ["sum", "nothing"], ["zero"]),
            helper.make_node("Cast", ["zero"], ["zero_int"], to=TensorProto.INT64),
            helper.make_node("Add", ["n", "zero_int"], ["y"]),
        ],
        "slow",
        [helper.make_tensor_value_info("n", TensorProto.INT64, [1])],
        [helper.make_tensor_value_info("y", TensorProto.INT64, [1])],
        [
            square,
            numpy_helper.from_array(np.array(True), "go"),
            numpy_helper.from_array(np.array([times], np.int64), "factor"),
            numpy_helper.from_array(np.array(0, np.float32), "nothing"),
        ],
    )
    return _bytes(graph)


def divide_model() -> bytes:
    """y = x / 0 where x is not 0: infinities, and NaN for 0; x and y FP32 [batch, 2]."""
    graph = helper.make_graph(
        [helper.make_node("Div", ["x", "k"], ["y"])],
        "divide",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 2])],
        [numpy_helper.from_array(np.array([0], np.float32), "k")],
    )
    return _bytes(graph)


_ELEMENTS = {
    DataType.BOOL: TensorProto.BOOL, DataType.UINT8: TensorProto.UINT8, DataType.UINT16: TensorProto.UINT16,
    DataType.UINT32: TensorProto.UINT32, DataType.UINT64: TensorProto.UINT64, DataType.INT8: TensorProto.INT8,
    DataType.INT16: TensorProto.INT16, DataType.INT32: TensorProto.INT32, DataType.INT64: TensorProto.INT64,
    DataType.FP16: TensorProto.FLOAT16, DataType.FP32: TensorProto.FLOAT, DataType.FP64: TensorProto.DOUBLE,
    DataType.BF16: TensorProto.BFLOAT16, DataType.BYTES: TensorProto.STRING,
}  # fmt: skip


def echo_model(datatype: DataType) -> bytes:
    """y = x, of one datatype and any shape."""
    element = _ELEMENTS[datatype]
    tensors = [helper.make_tensor_value_info(name, element, None) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "echo", tensors[:1], tensors[1:])
    return _model(graph).SerializeToString()  # the checker wants a shape, which the format leaves open


def publish_echoes(repository: Path) -> None:
    """An echo model for every datatype: `echo-fp32`, `echo-bytes`, …"""
    for datatype in DataType:
        publish(repository, f"echo-{datatype.lower()}", 1, {"model.onnx": echo_model(datatype)})


def _bytes(graph: onnx.GraphProto) -> bytes:
    model = _model(graph)
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString()
    return data


def _model(graph: onnx.GraphProto) -> onnx.ModelProto:
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def publish(repository: Path, model: str, version: int, files: dict[str, bytes]) -> Path:
    """Write a version elsewhere, and rename it into place."""
    target = repository / model / str(version)
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = repository.parent / f"staged-{model}-{version}-{os.urandom(4).hex()}"
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    folder.rename(target)
    return target


def withdraw(repository: Path, model: str, version: int) -> None:
    """Take a version out of the repository at once."""
    gone = repository.parent / f"gone-{os.urandom(4).hex()}"
    (repository / model / str(version)).rename(gone)
    shutil.rmtree(gone)
