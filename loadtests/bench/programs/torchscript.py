"""An ONNX model of layers Gemm and Relu, in a row, as TorchScript with the same weights.

`python -m loadtests.bench.programs.torchscript MODEL.onnx MODEL.pt`
"""

import sys
from typing import Any

import onnx
import torch
from onnx import numpy_helper


def translate(path: str) -> Any:
    """The network, scripted and frozen."""
    graph = onnx.load(path).graph
    weights = {each.name: torch.from_numpy(numpy_helper.to_array(each).copy()) for each in graph.initializer}
    layers: list[torch.nn.Module] = []
    for node in graph.node:
        if node.op_type == "Relu":
            layers.append(torch.nn.ReLU())
            continue
        if node.op_type != "Gemm":
            raise SystemExit(f"{path}: expected Gemm and Relu, and found {node.op_type}")
        weight, bias = weights[node.input[1]], weights[node.input[2]]
        linear = torch.nn.Linear(weight.shape[1], weight.shape[0])
        linear.load_state_dict({"weight": weight, "bias": bias})  # Gemm with transB has PyTorch's layout
        layers.append(linear)
    return torch.jit.freeze(torch.jit.script(torch.nn.Sequential(*layers).eval()))


if __name__ == "__main__":
    translate(sys.argv[1]).save(sys.argv[2])
