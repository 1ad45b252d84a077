"""ONNX files as they are published."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnx.version_converter

from adapters.export.steps.job import Refusal, first_lines

OPSET = 18
"""Which every runtime of the last years reads, and all converters here write."""

_OLDEST_OPSET = 13  # quantizing by channels begins there
_IR_VERSION = 8


def read(path: Path) -> onnx.ModelProto:
    """A model, its weights too where they are in files beside it; raises Refusal where it cannot be read."""
    try:
        return onnx.load(path)
    except Exception as error:
        raise Refusal(f"{path.name} is no ONNX model, or damaged: {first_lines(error)}") from error


def save(model: onnx.ModelProto, path: Path) -> None:
    """Check and write a model without its converter's notes: stack traces tell the paths of the machine.

    A free first axis of inputs and outputs is called `batch`, so that runtimes know them to be the same.
    """
    for annotated in (model, model.graph, *model.graph.node, *model.graph.input, *model.graph.output):
        annotated.ClearField("metadata_props")
        annotated.doc_string = ""
    del model.graph.value_info[:]
    for value in (*model.graph.input, *model.graph.output):
        sizes = value.type.tensor_type.shape.dim
        if sizes and not sizes[0].HasField("dim_value"):
            sizes[0].dim_param = "batch"
    onnx.checker.check_model(model)
    onnx.save(model, path)


def modern(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model in a form that quantizing needs: weights are no inputs, and its operators are not too old."""
    weights = {each.name for each in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    model.ir_version = max(model.ir_version, _IR_VERSION)
    old = next((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), OPSET)
    if old >= _OLDEST_OPSET:
        return model
    try:
        return onnx.version_converter.convert_version(model, OPSET)
    except Exception as error:
        raise Refusal(
            f"its operators are of opset {old}, and not to be had in {OPSET}: {first_lines(error)}"
        ) from error


def sizes_of(value: onnx.ValueInfoProto) -> list[int | None]:
    """The shape of an input or output, None for a free axis."""
    return [size.dim_value if size.HasField("dim_value") else None for size in value.type.tensor_type.shape.dim]
