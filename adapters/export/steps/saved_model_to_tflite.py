"""SavedModel to TFLite in all precisions; inputs and outputs stay floats, with the signature's names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from adapters.export.steps.calibration import batches
from adapters.export.steps.job import Job, Refusal, Report, first_lines, unsupported
from adapters.export.steps.saved_models import layers_of, meta_graphs, prepared, signature_name

TOOLS = ("tensorflow",)

_LACKING = re.compile(r"(?:tf|TF ops|Custom ops|Flex ops)[.: ]+([A-Z]\w*)")


def run(told: Mapping[str, Any], report: Report) -> dict[str, Any]:
    """Convert one signature."""
    job = Job.of(told)
    report(0.1, "reading the SavedModel")
    folder = prepared(job, job.target.with_suffix(".prepared"))
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder), signature_keys=[signature_name(folder)])
    if job.precision != "fp32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if job.precision == "fp16":
        converter.target_spec.supported_types = [tf.float16]
    if job.precision == "int8":
        shapes = _shapes(folder)
        next(batches(job, shapes))
        converter.representative_dataset = lambda: batches(job, shapes)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    report(0.3, f"converting to TFLite, {job.precision}")
    model, floats = _converted(converter, job)
    job.target.write_bytes(model)
    return {"floats": floats}


def _converted(converter: Any, job: Job) -> tuple[bytes, bool]:
    """The model, and whether operators without an 8-bit kernel had to stay in floats."""
    try:
        return converter.convert(), False
    except Exception as error:
        if job.precision != "int8" or "8" not in str(error):
            raise _refusal(error, job) from error
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8, tf.lite.OpsSet.TFLITE_BUILTINS]
    try:
        return converter.convert(), True
    except Exception as error:
        raise _refusal(error, job) from error


def _shapes(folder: Path) -> dict[str, list[int | None]]:
    signature = meta_graphs(folder)[0].signature_def[signature_name(folder)]
    sizes = {name: [dim.size for dim in info.tensor_shape.dim] for name, info in signature.inputs.items()}
    return {name: [None if size < 0 else size for size in shape] for name, shape in sizes.items()}


def _refusal(error: Exception, job: Job) -> Refusal:
    text = str(error)
    operators = sorted(set(_LACKING.findall(text)))
    found = {name: layers for name, layers in layers_of(job.source, operators).items() if layers}
    if found:
        return unsupported("TFLite", found)
    return Refusal(f"TensorFlow {tf.__version__} cannot convert it to TFLite: {first_lines(error, 2)}")
