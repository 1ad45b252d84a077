"""ONNX models of a few nodes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Sizes: TypeAlias = Sequence[int | str | None] | None


def node(kind: str, inputs: str, outputs: str, **attributes: Any) -> onnx.NodeProto:
    """An operator; names are separated by spaces."""
    return helper.make_node(kind, inputs.split(), outputs.split(), **attributes)


def tensor(name: str, shape: Sizes, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    """An input or output; a size that is None or a name is free."""
    return helper.make_tensor_value_info(name, kind, shape)


def save(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    constants: dict[str, Any] | None = None,
) -> Path:
    """Write a model; `constants` are its weights."""
    weights = [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()]
    graph = helper.make_graph(nodes, "graph", inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    path.write_bytes(model.SerializeToString())
    return path


def save_doubling(path: Path) -> Path:
    """y = 2·x; x and y FP32 [rows, 4]."""
    nodes = [node("Mul", "x two", "y")]
    return save(path, nodes, [tensor("x", ["rows", 4])], [tensor("y", ["rows", 4])], {"two": np.float32(2)})
