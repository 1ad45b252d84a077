"""A program of torch.export to ONNX; its free axes stay free."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import onnx
import torch

from adapters.export.steps.job import Job, Refusal, Report, first_lines, unsupported
from adapters.export.steps.onnx_files import OPSET, save
from adapters.export.steps.programs import input_names, layers_using
from adapters.export.steps.torch_inputs import output_names, read_exported

TOOLS = ("torch", "onnxscript")

_LACKING = re.compile(r"No ONNX function found for <OpOverload\(op='([\w:.]+)'")


def run(told: Mapping[str, Any], report: Report) -> dict[str, Any]:
    """Convert the program."""
    job = Job.of(told)
    report(0.2, "reading the program")
    program = read_exported(job.source)
    outputs = output_names(job, len(program.graph_signature.user_outputs))
    report(0.5, "converting to ONNX")
    raw = job.target.with_suffix(".raw.onnx")
    try:
        torch.onnx.export(
            program,
            f=raw,
            dynamo=True,
            input_names=input_names(job, program),
            output_names=outputs,
            opset_version=OPSET,
            external_data=False,
            verbose=False,
        )
    except Exception as error:
        if lacking := _LACKING.findall(_whole(error)):
            raise unsupported("ONNX", {each: layers_using(program, each) for each in lacking}) from error
        raise Refusal(f"torch {torch.__version__} cannot convert it to ONNX: {first_lines(error)}") from error
    save(onnx.load(raw), job.target)
    raw.unlink()
    return {}


def _whole(error: BaseException | None) -> str:
    texts = []
    while error is not None:
        texts.append(str(error))
        error = error.__cause__
    return "\n".join(texts)
