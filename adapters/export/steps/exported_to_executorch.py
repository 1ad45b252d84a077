"""A program of torch.export to ExecuTorch's .pte, with XNNPACK for what it can do; shapes are fixed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.exir import to_edge_transform_and_lower

from adapters.export.steps.job import Job, Refusal, Report, first_lines, unsupported
from adapters.export.steps.programs import fixed_examples, input_names, layers_using
from adapters.export.steps.torch_inputs import read_exported

TOOLS = ("executorch", "torch")

_LACKING = re.compile(
    r"Operator (?:torch\._ops\.)?([\w.]+) is not (?:in )?Core ATen|Missing out variants: \{'([\w:.]+)'|"
    r"Missing operator: \[\d+\] ([\w:.]+)"
)


def run(told: Mapping[str, Any], report: Report) -> dict[str, Any]:
    """Lower the program; the share of operators that XNNPACK took is in the result."""
    job = Job.of(told)
    report(0.2, "reading the program")
    program = read_exported(job.source)
    examples = fixed_examples(job, program, input_names(job, program))
    report(0.4, "lowering to ExecuTorch with XNNPACK")
    try:
        fixed = torch.export.export(program.module(), tuple(examples))
        lowered = to_edge_transform_and_lower(fixed, partitioner=[XnnpackPartitioner()])
        job.target.write_bytes(lowered.to_executorch().buffer)
    except Exception as error:
        if lacking := {"".join(found) for found in _LACKING.findall(str(error))}:
            raise unsupported("ExecuTorch", {each: layers_using(program, each) for each in lacking}) from error
        raise Refusal(f"executorch cannot lower it: {first_lines(error)}") from error
    return {}
