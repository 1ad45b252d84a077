"""Models to measure with, made here with fixed weights: input `x`, output `y`, FP32, batch axis first and free."""

from __future__ import annotations

from math import prod, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_SEED = 0
_RESNET_STAGES = ((64, 1), (128, 2), (256, 2), (512, 2))
"""Channels, and the stride of the first of a stage's two blocks."""


class _Network:
    """A graph that grows layer by layer; each method takes and gives the name of a value."""

    def __init__(self) -> None:
        self._random = np.random.default_rng(_SEED)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def node(self, operator: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        output = output or f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [output], **attributes))
        return output

    def conv(self, x: str, takes: int, gives: int, size: int, stride: int) -> str:
        """A convolution with a square kernel that keeps the image's size but for the stride."""
        kernel, bias = self._weights(gives, takes, size, size), self._zeros(gives)
        return self.node("Conv", x, kernel, bias, strides=[stride] * 2, pads=[size // 2] * 4)

    def dense(self, x: str, takes: int, gives: int, output: str | None = None) -> str:
        """A fully connected layer; `output` names the graph's output."""
        return self.node("Gemm", x, self._weights(gives, takes), self._zeros(gives), output=output, transB=1)

    def _weights(self, *shape: int) -> str:
        """The first axis is the output's; values keep the size of what goes through."""
        values = self._random.standard_normal(shape, np.float32) / np.float32(sqrt(prod(shape[1:])))
        return self._add(values)

    def _zeros(self, size: int) -> str:
        return self._add(np.zeros(size, np.float32))

    def _add(self, values: np.ndarray[Any, Any]) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(values, name))
        return name

    def write(self, path: Path, takes: list[int], gives: list[int]) -> None:
        """Shapes are without the batch axis."""
        inputs, outputs = (
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *shape])]
            for name, shape in (("x", takes), ("y", gives))
        )
        graph = helper.make_graph(self.nodes, path.parent.parent.name, inputs, outputs, self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        onnx.checker.check_model(model)
        path.parent.mkdir(parents=True, exist_ok=True)
        onnx.save(model, path)


def write_mlp(path: Path) -> None:
    """A multilayer perceptron 64 → 32 → 10: `x` [batch, 64], `y` [batch, 10]."""
    network = _Network()
    hidden = network.node("Relu", network.dense("x", 64, 32))
    network.dense(hidden, 32, 10, output="y")
    network.write(path, [64], [10])


def write_cnn(path: Path) -> None:
    """Two convolutions, then dense layers of 7.4 million weights: `x` [batch, 1, 28, 28], `y` [batch, 10].

    One row has all 30 MB of weights read for a little arithmetic; a batch has them read once.
    """
    network = _Network()
    image = network.node("Relu", network.conv("x", 1, 8, 3, 2))
    image = network.node("Relu", network.conv(image, 8, 16, 3, 2))
    row = network.node("Flatten", image)
    for takes, gives in ((16 * 7 * 7, 4096), (4096, 1024)):
        row = network.node("Relu", network.dense(row, takes, gives))
    network.dense(row, 1024, 10, output="y")
    network.write(path, [1, 28, 28], [10])


def write_resnet(path: Path) -> None:
    """ResNet-18's layers, batch normalization folded: `x` [batch, 3, 224, 224], `y` [batch, 1000]."""
    network = _Network()
    image = network.node("Relu", network.conv("x", 3, 64, 7, 2))
    image = network.node("MaxPool", image, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    channels = 64
    for width, stride in _RESNET_STAGES:
        image = _block(network, image, channels, width, stride)
        image = _block(network, image, width, width, 1)
        channels = width
    pooled = network.node("Flatten", network.node("GlobalAveragePool", image))
    network.dense(pooled, channels, 1000, output="y")
    network.write(path, [3, 224, 224], [1000])


def _block(network: _Network, x: str, takes: int, gives: int, stride: int) -> str:
    """Two convolutions, and around them the input itself, or a convolution of it where the shape changes."""
    inner = network.node("Relu", network.conv(x, takes, gives, 3, stride))
    inner = network.conv(inner, gives, gives, 3, 1)
    around = x if (takes, stride) == (gives, 1) else network.conv(x, takes, gives, 1, stride)
    return network.node("Relu", network.node("Add", inner, around))


def write_image_model(path: Path, operator: str, size: int) -> None:
    """One operator over images: `x` [batch, 3, 224, 224], `y` [batch, 3, size, size]."""
    network = _Network()
    network.node(operator, "x", output="y")
    network.write(path, [3, 224, 224], [3, size, size])
