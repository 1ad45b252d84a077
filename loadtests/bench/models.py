"""Models to measure with, made here with fixed weights."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def write_mlp(path: Path) -> None:
    """A multilayer perceptron 64 → 32 → 10 in ONNX: input `x` [batch, 64], output `y` [batch, 10], both FP32."""
    random = np.random.default_rng(0)
    sizes = (64, 32, 10)
    weights, nodes, current = [], [], "x"
    for layer, (rows, columns) in enumerate(pairwise(sizes)):
        weights += [
            numpy_helper.from_array(random.standard_normal((rows, columns)).astype(np.float32), f"w{layer}"),
            numpy_helper.from_array(np.zeros(columns, np.float32), f"b{layer}"),
        ]
        last = layer == len(sizes) - 2
        nodes.append(helper.make_node("Gemm", [current, f"w{layer}", f"b{layer}"], ["y" if last else f"h{layer}"]))
        if not last:
            nodes.append(helper.make_node("Relu", [f"h{layer}"], [f"r{layer}"]))
        current = f"r{layer}"
    graph = helper.make_graph(
        nodes,
        "mlp",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", sizes[0]])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", sizes[-1]])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
