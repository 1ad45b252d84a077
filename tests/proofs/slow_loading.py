"""ONNX models that say which of their publications answers, one of which takes its time to load."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from adapters.onnx_runtime import OnnxRuntime

_SHAPE = (128, 80_000)  # 41 MB: beyond 32 MB, what is freed goes back to the system at once
_TRIED = 10


def adding(constant: float, products: int = 0) -> bytes:
    """y = x + constant; x and y FP32 [rows, 2].

    With `products` the constant comes out of so many products of matrices, which the runtime works out once, when it
    loads the model: one core is busy with it, and hardly anything of it is left afterwards.
    """
    nodes = [helper.make_node("Add", ["x", "constant"], ["y"])]
    weights = [numpy_helper.from_array(np.array([constant], np.float32), "constant")]
    if products:
        names = [f"product{number}" for number in range(products)]
        one = helper.make_tensor("one", TensorProto.FLOAT, [1], [1])
        nodes = [
            helper.make_node("ConstantOfShape", ["shape"], ["ones"], value=one),
            # No two of the same factor, or the runtime would work out one of them.
            *(
                helper.make_node("Gemm", ["ones", "ones"], [name], transB=1, alpha=1 + number / products)
                for number, name in enumerate(names)
            ),
            helper.make_node("Sum", names, ["all"]),
            helper.make_node("ReduceMax", ["all"], ["most"], keepdims=0),
            helper.make_node("Mul", ["most", "nothing"], ["zero"]),
            helper.make_node("Add", ["constant", "zero"], ["worked_out"]),
            helper.make_node("Add", ["x", "worked_out"], ["y"]),
        ]
        weights += [
            numpy_helper.from_array(np.array(_SHAPE), "shape"),
            numpy_helper.from_array(np.float32(0), "nothing"),
        ]
    shape = ["rows", 2]
    inputs, outputs = ([helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)] for name in "xy")
    graph = helper.make_graph(nodes, "adding", inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    content: bytes = model.SerializeToString()
    return content


def taking(seconds: float) -> Callable[[float], bytes]:
    """Such models, by their constant, that keep a core busy for so long when they are loaded here."""
    if not seconds:
        return adding
    each_s = (_load_cpu_s(3 * _TRIED) - _load_cpu_s(_TRIED)) / (2 * _TRIED)
    products = max(1, round(seconds / each_s))
    return lambda constant: adding(constant, products)


def _load_cpu_s(products: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(adding(1, products))
        began_s = time.process_time()
        OnnxRuntime().load(path, {})
        return time.process_time() - began_s
