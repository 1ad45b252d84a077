"""A program of torch.export to TFLite, by litert-torch; shapes are fixed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import litert_torch
import torch

from adapters.export.steps.job import Job, Refusal, Report, first_lines, unsupported
from adapters.export.steps.programs import fixed_examples, input_names, layers_using
from adapters.export.steps.torch_inputs import output_names, outputs_of, read_exported

TOOLS = ("litert-torch", "torch")

_LACKING = re.compile(r"[Ll]owering not found: (?:<OpOverload\(op=')?([\w:.]+)")


class _Named(torch.nn.Module):
    """The program with its outputs by name, which litert-torch then calls so."""

    def __init__(self, program: torch.nn.Module, inputs: list[str], outputs: list[str]) -> None:
        super().__init__()
        self.program = program
        self.inputs = inputs
        self.outputs = outputs

    def forward(self, **tensors: torch.Tensor) -> dict[str, torch.Tensor]:
        answers = outputs_of(self.program(*(tensors[name] for name in self.inputs)))
        return dict(zip(self.outputs, answers, strict=True))


def run(told: Mapping[str, Any], report: Report) -> dict[str, Any]:
    """Convert the program, with the signature's names."""
    job = Job.of(told)
    report(0.2, "reading the program")
    program = read_exported(job.source)
    inputs = input_names(job, program)
    outputs = output_names(job, len(program.graph_signature.user_outputs))
    examples = dict(zip(inputs, fixed_examples(job, program, inputs), strict=True))
    report(0.4, "converting to TFLite")
    try:
        named = _Named(program.module(), inputs, outputs)
        model = litert_torch.signature("serving_default", named, sample_kwargs=examples).convert()
    except Exception as error:
        if lacking := _LACKING.findall(str(error)):
            raise unsupported("litert-torch", {each: layers_using(program, each) for each in lacking}) from error
        raise Refusal(f"litert-torch {litert_torch.__version__} cannot convert it: {first_lines(error)}") from error
    model.export(str(job.target))
    return {}
