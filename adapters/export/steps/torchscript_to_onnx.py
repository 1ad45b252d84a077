"""TorchScript to ONNX, by torch's exporter for TorchScript: the one that keeps its free axes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import onnx
import torch

from adapters.export.steps.job import Job, Refusal, Report, first_lines, unsupported
from adapters.export.steps.onnx_files import OPSET, save
from adapters.export.steps.torch_inputs import (
    TRACED_ROWS,
    arguments_of,
    example_inputs,
    output_names,
    outputs_of,
    read_torchscript,
)

TOOLS = ("torch",)

_LACKING = re.compile(r"operator '([\w:.]+)'")


def run(told: Mapping[str, Any], report: Report) -> dict[str, Any]:
    """Convert the forward method; axis 0 stays free where no shape was asked for."""
    job = Job.of(told)
    report(0.2, "reading the TorchScript model")
    model = read_torchscript(job.source)
    arguments = arguments_of(model)
    examples = example_inputs(job, arguments, rows=TRACED_ROWS)
    answers = outputs_of(model(**examples))
    inputs, outputs = _names(job, arguments), output_names(job, len(answers))
    free = [
        name for name, tensor in zip(inputs, examples.values(), strict=True) if tensor.ndim and not _fixed(job, name)
    ]
    free_outputs = [name for name, tensor in zip(outputs, answers, strict=True) if tensor.ndim] if free else []
    report(0.5, "converting to ONNX")
    raw = job.target.with_suffix(".raw.onnx")
    try:
        torch.onnx.export(
            model,
            tuple(examples.values()),
            raw,
            dynamo=False,
            input_names=inputs,
            output_names=outputs,
            dynamic_axes={name: {0: "batch"} for name in (*free, *free_outputs)},
            opset_version=OPSET,
        )
    except Exception as error:
        if operator := _LACKING.search(str(error)):
            raise unsupported("ONNX", {operator[1]: _layers(model, operator[1])}) from error
        raise Refusal(f"torch {torch.__version__} cannot convert it to ONNX: {first_lines(error)}") from error
    save(onnx.load(raw), job.target)
    raw.unlink()
    return {}


def _names(job: Job, arguments: list[str]) -> list[str]:
    return [plan.name for plan in job.inputs] if len(job.inputs) == len(arguments) else arguments


def _fixed(job: Job, name: str) -> bool:
    return (
        job.batch is not None
        or name in job.shapes
        or any(plan.name == name and plan.shape and plan.shape[0] is not None for plan in job.inputs)
    )


def _layers(model: torch.jit.ScriptModule, operator: str) -> list[str]:
    """The modules whose own code uses an operator."""
    short = operator.rsplit("::", maxsplit=1)[-1]
    found = []
    for name, module in model.named_modules():
        code = getattr(module, "code", "")
        if re.search(rf"\b{re.escape(short)}\b", code):
            found.append(name or "forward")
    return [name for name in found if name != "forward"] or found
