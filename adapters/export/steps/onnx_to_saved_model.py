"""ONNX to SavedModel, by onnx2tf; names and layouts of inputs and outputs are kept."""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx2tf
import onnxruntime as ort
import tensorflow as tf

from adapters.export.steps.job import Job, Refusal, Report, first_lines, unsupported
from adapters.export.steps.onnx_files import read, sizes_of

TOOLS = ("onnx2tf", "tensorflow")

_PICTURES = "calibration_image_sample_data_20x128x128x3_float32.npy"
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_OPERATOR = re.compile(r"(?:ONNX OP|onnx_op_type)\W+(\w+)")
_LAYER = re.compile(r"onnx_op_name: (\S+)")
_LACKING = re.compile(r"(\w+) OP is not yet implemented")


def run(told: Mapping[str, Any], report: Report) -> dict[str, Any]:
    """Convert the graph to TensorFlow's layout, and give it the signature that it had."""
    job = Job.of(told)
    report(0.1, "reading the ONNX model")
    model = read(job.source)
    folder = job.target.with_suffix(".onnx2tf")
    copy = _workplace(folder, job.source, model)
    report(0.2, "converting to TensorFlow")
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.chdir(folder):
            converted = onnx2tf.convert(
                input_onnx_file_path=str(copy),
                output_folder_path=str(folder),
                keep_shape_absolutely_input_names=[value.name for value in _inputs(model)],
                overwrite_input_shape=_fixed_shapes(job, model),
                batch_size=job.batch,
                disable_model_save=True,
                verbosity="error",
            )
    except (Exception, SystemExit) as error:
        raise _refusal(error, _COLOURS.sub("", said.getvalue())) from error
    finally:
        print(said.getvalue())  # noqa: T201  # to stderr, for the log
    report(0.8, "writing the SavedModel")
    _write(job, model, converted)
    return {}


def _workplace(folder: Path, source: Path, model: onnx.ModelProto) -> Path:
    """A copy of the model, which onnx2tf writes into, among what it would look for elsewhere."""
    folder.mkdir()
    # It runs onnxsim as a program, of its own environment.
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    # Pictures to try a model with: without them, it would fetch some from the internet.
    np.save(folder / _PICTURES, np.random.default_rng(0).random((20, 128, 128, 3), np.float32))
    copy = folder / "model.onnx"
    if not _folded(source, copy):
        onnx.save(model, copy)
    return copy


def _folded(source: Path, copy: Path) -> bool:
    """Write the model with what is constant worked out, which onnx2tf expects; false where onnxruntime cannot."""
    settings = ort.SessionOptions()
    settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    settings.optimized_model_filepath = str(copy)
    try:
        ort.InferenceSession(str(source), settings, providers=["CPUExecutionProvider"])
    except Exception:  # noqa: BLE001  # then onnx2tf says what it does not know
        return False
    return all(node.domain in ("", "ai.onnx") for node in onnx.load(copy).graph.node)


def _inputs(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    weights = {each.name for each in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in weights]


def _fixed_shapes(job: Job, model: onnx.ModelProto) -> list[str] | None:
    if not job.shapes:
        return None
    return [f"{each.name}:{','.join(map(str, job.fixed_shape(each.name, sizes_of(each))))}" for each in _inputs(model)]


def _write(job: Job, model: onnx.ModelProto, converted: Any) -> None:
    """As a SavedModel whose signature has the ONNX model's names, as far as TensorFlow can have them."""
    names, outputs = [value.name for value in _inputs(model)], [value.name for value in model.graph.output]
    if len(names) != len(converted.inputs):
        raise Refusal(f"onnx2tf made {len(converted.inputs)} inputs of {len(names)}: one of them is not used")
    tensors = zip(converted.inputs, names, strict=True)
    # TensorFlow takes no argument's name that begins with an underscore.
    plain = ((each, _plain(name).lstrip("_") or "input") for each, name in tensors)
    specs = [tf.TensorSpec(each.shape, each.dtype, name=name) for each, name in plain]

    def call(*inputs: Any) -> dict[str, Any]:
        answers = converted(list(inputs) if len(inputs) > 1 else inputs[0], training=False)
        answers = answers if isinstance(answers, list | tuple) else [answers]
        return {_plain(name): answer for name, answer in zip(outputs, answers, strict=True)}

    module = tf.Module()
    module.model = converted
    module.call = tf.function(call, input_signature=specs)
    tf.saved_model.save(module, str(job.target), {"serving_default": module.call})


def _plain(name: str) -> str:
    return re.sub(r"\W", "_", name)


def _refusal(error: BaseException, said: str) -> Refusal:
    operators, layers = _OPERATOR.findall(said), _LAYER.findall(said)
    if lacking := _LACKING.findall(said):
        return unsupported("TFLite (by onnx2tf)", {lacking[0]: layers[:1]})
    where = f" at {operators[0] if operators else 'operator'} (layer '{layers[0]}')" if layers else ""
    lines = [line.removeprefix("ERROR: ") for line in said.splitlines() if line.startswith("ERROR: ")]
    told = [line for line in lines if not line.startswith(("onnx_op", "The trace log", "input_onnx", "Read this"))]
    reason = told[0] if told else first_lines(error)
    return Refusal(f"onnx2tf {onnx2tf.__version__} cannot convert it{where}: {reason[:400]}")
