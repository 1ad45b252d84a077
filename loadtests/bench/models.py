"""Models to measure with, made here with fixed weights."""

from __future__ import annotations

import json
import zipfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_HANDLER = '''\
def handle(requests, context):
    """Answers a short JSON; TorchServe calls it once with None while it loads."""
    return None if requests is None else [{"answer": 42} for _ in requests]
'''


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
    _write(path, nodes, ["batch", sizes[0]], ["batch", sizes[-1]], weights)


def write_image_model(path: Path, operator: str, size: int) -> None:
    """One operator over images in ONNX: input `x` [batch, 3, 224, 224], output `y` [batch, 3, size, size], FP32."""
    node = helper.make_node(operator, ["x"], ["y"])
    _write(path, [node], ["batch", 3, 224, 224], ["batch", 3, size, size], [])


def _write(
    path: Path,
    nodes: list[onnx.NodeProto],
    takes: list[str | int],
    gives: list[str | int],
    weights: list[onnx.TensorProto],
) -> None:
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, takes)]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, gives)]
    graph = helper.make_graph(nodes, path.parent.parent.name, inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)


def write_archive(path: Path, name: str) -> None:
    """A TorchServe archive (.mar), version 1.0, whose handler answers `{"answer": 42}` to anything."""
    model = {"modelName": name, "handler": "handler.py", "modelVersion": "1.0"}
    manifest = {"runtime": "python", "model": model, "archiverVersion": "0.12.0"}
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("MAR-INF/MANIFEST.json", json.dumps(manifest))
        archive.writestr("handler.py", _HANDLER)
